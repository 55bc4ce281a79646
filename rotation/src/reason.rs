//! The stable codes of what keeps a secret from being rotated.

use serde::{Deserialize, Serialize};

use super::newer_word::NewerWord;

/// Why a rotation failed or is stuck: one word per runbook page.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// Nothing at this path, or its latest version is deleted.
    SecretMissing,
    /// The secret has no such field, or it is blank or no string.
    FieldMissing,
    /// Dynatrace does not know the value.
    TokenUnknown,
    /// A person disabled the token.
    TokenDisabled,
    /// It is a personal access token.
    TokenPersonal,
    /// The value is a token of another kind than the secret's.
    TokenKind,
    /// Nothing proves that the value is the token whose id it shows.
    TokenUnproven,
    /// It has rights to manage tokens and is not the environment's management token.
    TokenManages,
    /// Its lifetime is not longer than twice the grace.
    LifetimeTooShort,
    /// The environment refused to make a token like it.
    MintRefused,
    /// Its owner has as many tokens as an owner may have.
    TokenLimitReached,
    /// The new token did not work, or lacks the rights asked for.
    VerifyFailed,
    /// Vault refused a read or write of this secret or of its journal document.
    VaultRefused,
    /// Dynatrace refused a call for a token of this secret.
    DynatraceRefused,
    /// A call of a clean-up was refused: orphaned tokens stay as they are. The value in Vault is not affected.
    RetirementRefused,
    /// The environment did not keep the marker in the name of a new token, so no token of this secret could be recognised as ours.
    NameNotKept,
    /// Its path, field, environment or URL changed in the configuration.
    Moved,
    /// A service could not be reached or gave no clear answer; retried automatically.
    Unavailable,
    /// What a newer version wrote.
    #[serde(untagged)]
    Newer(NewerWord),
}

impl Reason {
    /// The cause is the value in Vault or the token itself, so reading them again can find that it is resolved.
    pub fn is_of_the_value(&self) -> bool {
        matches!(
            self,
            Reason::SecretMissing
                | Reason::FieldMissing
                | Reason::TokenUnknown
                | Reason::TokenDisabled
                | Reason::TokenPersonal
                | Reason::TokenKind
                | Reason::TokenUnproven
                | Reason::TokenManages
        )
    }

    /// Someone put a value there that may well work and cannot be taken over.
    pub fn keeps_from_taking_over(&self) -> bool {
        self.is_of_the_value() && !self.locks_consumers_out()
    }

    /// The value in Vault is missing or does not work, so its consumers are locked out.
    pub fn locks_consumers_out(&self) -> bool {
        matches!(
            self,
            Reason::SecretMissing
                | Reason::FieldMissing
                | Reason::TokenUnknown
                | Reason::TokenDisabled
        )
    }

    /// The word in logs and journal.
    pub fn as_str(&self) -> &str {
        match self {
            Reason::SecretMissing => "secret_missing",
            Reason::FieldMissing => "field_missing",
            Reason::TokenUnknown => "token_unknown",
            Reason::TokenDisabled => "token_disabled",
            Reason::TokenPersonal => "token_personal",
            Reason::TokenKind => "token_kind",
            Reason::TokenUnproven => "token_unproven",
            Reason::TokenManages => "token_manages",
            Reason::LifetimeTooShort => "lifetime_too_short",
            Reason::MintRefused => "mint_refused",
            Reason::TokenLimitReached => "token_limit_reached",
            Reason::VerifyFailed => "verify_failed",
            Reason::VaultRefused => "vault_refused",
            Reason::DynatraceRefused => "dynatrace_refused",
            Reason::RetirementRefused => "retirement_refused",
            Reason::NameNotKept => "name_not_kept",
            Reason::Moved => "moved",
            Reason::Unavailable => "unavailable",
            Reason::Newer(word) => word.as_str(),
        }
    }
}
