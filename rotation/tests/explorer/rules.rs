//! The rules of the protocol, each with a scenario in which its absence shows.

use super::mutation::Mutation;

/// Each rule of the protocol with a scenario in which its absence shows. Where two are named, each covers the other, and only both together
/// show. The look at the secret after a disable is missing here: without it the next look takes the token back, so that nothing shows at rest.
pub fn rules() -> Vec<(&'static [Mutation], &'static str)> {
    use Mutation::*;
    vec![
        (&[NoFence], "a late effect, a death and a call that fails"),
        (&[NoBase], "a person writes"),
        (&[NoPause], "a person pauses and resumes"),
        (&[NoNewMark, NoPrefix], "a daemon that dies twice"),
        (&[NoOpen, NoPrefix], "a daemon that dies"),
        (&[NoHistory], "a person puts a token back"),
        (&[NoVersionPlusOne], "a person writes, an answer is lost"),
        (&[NoDue], "two daemons"),
        (&[NoRetireClaim], "undo"),
        (&[NoCheckBefore], "a person puts a token back"),
        (
            &[NoQuarantineCheck],
            "a person disables, enables or deletes a token",
        ),
        (&[Gone, NoPrefix], "a person writes, a token is listed late"),
        (&[NoGrace], "a daemon that dies"),
        (&[NoCheckAndSet], "a person writes"),
        (&[NoJournalCheckAndSet], "two daemons"),
        (&[NoTaint], "undo, an effect comes late"),
        (&[NoIdentity], "answers that belong to another request"),
        (&[NoProof], "a document that retires foreign tokens"),
        (
            &[NoProofInThisRun],
            "a document whose claim ends foreign tokens",
        ),
        (
            &[NoAnswerCheck],
            "an answer that belongs to another, a person writes",
        ),
        (&[RecordedRights], "a document that claims other rights"),
        (&[NoDigests, NoGrace], "a copy of a marked token"),
        (
            &[NoNumberLimit, NoProof],
            "numbers that were never given out",
        ),
        (&[NoLostMemory], "journal writes answered with a conflict"),
        (&[PrunedIsClean], "one version is kept, a person writes"),
        (
            &[EpochTwice, NoOtherSecrets],
            "a document with another secret's identity",
        ),
        (&[ForgedIsProven], "a value that shows another token's id"),
        (
            &[NoSecondLook],
            "an answer that belongs to another, and a death",
        ),
        (&[NoSecondVersion], "a version that is another secret's"),
        (&[OneListing, NoPrefix], "a listing that lacks a token"),
        (&[UnknownIsNobody], "a token that another secret holds"),
        (
            &[UnknownIsNobody],
            "revoke of a token that another secret holds",
        ),
        (&[NoOtherSecrets], "a token that another secret holds"),
        (
            &[NoOtherSecrets],
            "revoke of a token that another secret holds",
        ),
        (
            &[NoOtherSecrets, NoOtherMarker],
            "another secret's token in this secret",
        ),
    ]
}
