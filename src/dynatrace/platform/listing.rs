//! The complete listing of an account. Absence from it may prove that a token is gone, so what repeats, stops short or changes while it is read
//! is not a listing.

use std::collections::BTreeSet;

use super::Shared;
use super::api::{Item, Page, Status, read_page};
use rotation::error::CallError;
use rotation::token::{TokenId, TokenInfo};

/// Tokens come and go while a listing is read: it is begun again so often.
const TRIES: usize = 3;
/// More pages than this are a listing that goes in circles.
const MOST_PAGES: usize = 1000;

/// All tokens of the account.
pub(super) async fn complete(account: &Shared) -> Result<Vec<TokenInfo>, CallError> {
    let all = settled(account, None).await?;
    if all.iter().all(|item| item.status.is_some()) {
        return Ok(all.into_iter().map(|item| item.info).collect());
    }
    // The items have no status. Asked for both, so that a filter that is ignored is noticed.
    let ids = |items: Vec<Item>| -> BTreeSet<TokenId> {
        items.into_iter().map(|item| item.info.id).collect()
    };
    let inactive = ids(settled(account, Some(Status::Inactive)).await?);
    let active = ids(settled(account, Some(Status::Active)).await?);
    let both = inactive.intersection(&active).count();
    if both > 0 && both == inactive.len().min(active.len()) {
        return Err(account.odd_listing("lists the same tokens as active and as inactive"));
    }
    let tokens = all.into_iter().map(|Item { mut info, .. }| {
        // One that was changed in between counts as enabled: it is taken more care of, not less.
        info.enabled = !inactive.contains(&info.id) || active.contains(&info.id);
        info
    });
    Ok(tokens.collect())
}

/// What a page shows that keeps a listing from being one.
enum Flaw {
    /// It may be another one when it is asked for again.
    Moved(&'static str),
    Failed(CallError),
}

async fn settled(account: &Shared, status: Option<Status>) -> Result<Vec<Item>, CallError> {
    let mut why = "";
    for _ in 0..TRIES {
        match pages(account, status).await {
            Ok(items) => return Ok(items),
            Err(Flaw::Failed(error)) => return Err(error),
            Err(Flaw::Moved(flaw)) => why = flaw,
        }
    }
    Err(account.odd_listing(why))
}

async fn pages(account: &Shared, status: Option<Status>) -> Result<Vec<Item>, Flaw> {
    let first = page(account, status, None).await?;
    let (mut number, total) = (first.number, first.total);
    let mut seen: BTreeSet<TokenId> = BTreeSet::new();
    let mut items = vec![];
    add(first, &mut seen, &mut items)?;
    for _ in 0..MOST_PAGES {
        if items.len() >= total {
            break;
        }
        number += 1;
        let next = page(account, status, Some(number)).await?;
        if next.number != number {
            return Err(Flaw::Moved("answers another page than the one asked for"));
        }
        if next.total != total {
            return Err(Flaw::Moved("changes while it is read"));
        }
        if next.items.is_empty() {
            return Err(Flaw::Moved("stops short of its total"));
        }
        add(next, &mut seen, &mut items)?;
    }
    match items.len() == total {
        true => Ok(items),
        false => Err(Flaw::Moved("does not agree with its total")),
    }
}

fn add(page: Page, seen: &mut BTreeSet<TokenId>, items: &mut Vec<Item>) -> Result<(), Flaw> {
    for item in page.items {
        if !seen.insert(item.info.id.clone()) {
            return Err(Flaw::Moved("repeats a token"));
        }
        items.push(item);
    }
    Ok(())
}

async fn page(account: &Shared, status: Option<Status>, number: Option<u64>) -> Result<Page, Flaw> {
    let answer = account.manage(&account.api.list(status, number)).await;
    let answer = answer.map_err(Flaw::Failed)?;
    account.check(&answer).map_err(Flaw::Failed)?;
    read_page(&answer).map_err(Flaw::Failed)
}
