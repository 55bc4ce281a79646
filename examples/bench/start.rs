//! How long a start takes, on a real OpenBao.

use serde_json::Value;
use tokio::runtime::Runtime;

use crate::figures::{Figures, Goal};
use crate::openbao::OpenBao;
use crate::world::{NEVER, World, path};
use crate::{Bench, Outcome, client};

/// A world on a real OpenBao, which ends when it is dropped. The runtime is needed as long as that.
fn on_openbao(secrets: usize) -> Outcome<(Runtime, OpenBao, World)> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()?;
    let bao = runtime.block_on(OpenBao::dev());
    let root = bao.root();
    let token = runtime.block_on(async {
        root.write_shipped_policy().await;
        root.periodic_token(&["dtrotate"], "1h").await
    });
    let world = World::on(&bao.address, &token, secrets, |path, data: Value| {
        runtime.block_on(root.put("secret", path, data));
    })?;
    Ok((runtime, bao, world))
}

/// Every secret is new.
pub fn first(bench: &Bench, figures: &mut Figures) -> Outcome<()> {
    let (_runtime, _bao, world) = on_openbao(100)?;
    let ready = world.start(&bench.program, "bench", NEVER)?.ready()?;
    figures.add(
        "start to ready with 100 new secrets in a real OpenBao",
        ready.as_secs_f64() * 1e3,
        "ms",
        Goal::AtMost(1000.0),
        "",
    );
    Ok(())
}

/// Every secret is known: its document is in the journal.
pub fn known(bench: &Bench, figures: &mut Figures) -> Outcome<()> {
    let secrets = bench.secrets(10_000);
    let (_runtime, _bao, world) = on_openbao(secrets)?;
    let daemon = world.start(&bench.program, "bench", NEVER)?;
    daemon.ready()?;
    daemon.quiet()?;
    drop(daemon);
    let daemon = world.start(&bench.program, "bench", NEVER)?;
    let ready = daemon.ready()?.as_secs_f64();
    drop(daemon);
    let key = |number| path(number).replace('/', "~2F");
    let documents = |number| format!("secret/data/dtrotate/journal/{}", key(number));
    let reads: Vec<String> = (0..secrets).map(documents).collect();
    let alone = client::read(&world, &reads)?;
    figures.add(
        format!("start to ready with {secrets} known secrets in a real OpenBao"),
        ready,
        "s",
        Goal::None,
        "",
    );
    figures.add(
        "start to ready : the reads alone",
        ready / alone.seconds,
        "",
        Goal::AtMost(1.5),
        format!(
            "{} reads of documents by the plain client: {:.2} s",
            alone.calls, alone.seconds
        ),
    );
    Ok(())
}
