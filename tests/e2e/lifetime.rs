//! How long a new token lives, by what the old one did and what the configuration says.

use jiff::SignedDuration;
use simulator::Seed;

use crate::world::World;

const DAY: SignedDuration = SignedDuration::from_hours(24);

#[tokio::test]
async fn a_new_token_lives_as_long_as_the_old_one_or_as_the_configuration_says() {
    let mut world = World::new(5).await;
    let now = crate::world::now();
    // They live for 35 days in all; the last one for less than two hours, which is not twice its grace, also where a time is returned in
    // whole seconds.
    for number in 0..5 {
        let mut seed = Seed::new("job").scopes(&["metrics.read"]);
        seed = match number {
            0 => seed,
            4 => seed
                .created(now - SignedDuration::from_hours(1))
                .expires(now + SignedDuration::from_mins(59)),
            _ => seed.created(now - DAY * 30).expires(now + DAY * 5),
        };
        let value = world.dynatrace.seed(seed).value;
        world.put(number, &value).await;
    }
    let secrets = world.config["secret"].as_array_mut().expect("secrets");
    let wishes = [
        &[][..],
        &[("lifetime", "inherit")],
        &[("lifetime", "never")],
        &[("lifetime", "90d")],
        &[("grace", "1h"), ("max_grace", "2h")],
    ];
    for (secret, wishes) in secrets.iter_mut().zip(wishes) {
        let table = secret.as_table_mut().expect("a secret");
        for (key, value) in wishes {
            table.insert((*key).to_owned(), (*value).into());
        }
    }
    world.save();
    let old = world.current_id(4).await;
    world.command(&["rotate", "--all"]).await;
    let expected = [None, Some(DAY * 35), None, Some(DAY * 90)];
    for (number, length) in expected.into_iter().enumerate() {
        let token = world.dynatrace.token(&world.current_id(number).await);
        let token = token.expect("the token");
        assert!(token.name.contains("[dtrotate:"), "{number} was rotated");
        let lives = token.expires.map(|end| now.duration_until(end));
        let near = |length: SignedDuration, lives: SignedDuration| {
            (lives - length).abs() < SignedDuration::from_mins(10)
        };
        let fits = match (length, lives) {
            (None, None) => true,
            (Some(length), Some(lives)) => near(length, lives),
            _ => false,
        };
        assert!(fits, "secret {number}: {lives:?}, not {length:?}");
    }
    assert_eq!(world.current_id(4).await, old, "left as it was");
    let failure = &world.record(4).await["failure"];
    assert_eq!(failure["reason"], "lifetime_too_short");
    assert!(
        failure["message"]
            .as_str()
            .is_some_and(|m| m.contains("lifetime"))
    );
}
