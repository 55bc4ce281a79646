# The least rights that dtrotate needs in Vault or OpenBao. The end-to-end tests run the daemon with this file.
#
#   bao policy write dtrotate vault-policy.hcl        (vault policy write ...)
#
# It fits the values of the reference configuration: secrets in the KV v2 mount `secret` below `dynatrace/`, the
# management token at `dynatrace/master`, the journal in the mount `secret` below `dtrotate/journal/`. Change mounts and
# paths to yours; a secret at its own path gets the two rules of "secrets" for that path. For a KV v1 mount write
# `mount/path` for `mount/data/path` and leave the metadata rules out. In a namespace, write the policy into that
# namespace; the paths stay the same. `dtrotate check` proves these rights and prints the rule that is missing.
#
# Not in here, on purpose:
# - `delete`, and the paths `delete/`, `destroy/` and `undelete/` of the mount: dtrotate never removes a value from
#   Vault, and old versions are how it proves which tokens were its own.
# - `delete` on `metadata/`: it would forget all versions and start the counter at 1 again, so that a check-and-set on an
#   old version could succeed against a new value. Give this right only to those who must have it.
# - `patch` and writing `metadata/`: every write replaces the whole secret under check-and-set, which carries the fields
#   of others over unchanged.
# - `list` on all secrets: dtrotate lists only folders that a `discover` of its configuration names.

# --- secrets -------------------------------------------------------------------------------------------------------

# read: the token to rotate, and the value read back after a write whose answer was lost.
# update: storing the new token as the next version.
# create: the first token of a secret with `create = true`. Otherwise only for the answer: when a person removed the secret between
#         read and store, the check-and-set then says so, instead of a 403 that looks like a wrong policy. Each write demands the
#         version it has read.
path "secret/data/dynatrace/*" {
  capabilities = ["create", "read", "update"]
}

# read: which versions exist, and which of them a person deleted. A token that was ever stored in a version keeps its grace.
path "secret/metadata/dynatrace/*" {
  capabilities = ["read"]
}

# list: finding secrets below a folder that `discover` names, in the folder itself and in those below it. This rule is more specific than the
# one above, so it repeats `read`. Change the folder to yours; without `discover` leave the rule out.
path "secret/metadata/dynatrace/apps/*" {
  capabilities = ["list", "read"]
}

# --- the management token ------------------------------------------------------------------------------------------

# read only: this rule is the more specific one and takes the write rights of the rule above away. Remove it when the
# management token is itself listed as a [[secret]].
path "secret/data/dynatrace/master" {
  capabilities = ["read"]
}

# --- the OAuth client of an account ---------------------------------------------------------------------------------

# read only, for `kind = "platform"`: with this client anybody can create tokens with any scope in the whole account, so
# give this path to nobody else. It is read again when it is refused; a new client is put here by a person.
path "secret/data/dynatrace/oauth-client" {
  capabilities = ["read"]
}

# --- the journal ---------------------------------------------------------------------------------------------------

# create: the first document of a secret. read: the progress of a rotation. update: every claim and every step, always with
# check-and-set. Anyone with these rights can make dtrotate delete tokens: a separate mount is even better.
path "secret/data/dtrotate/journal/*" {
  capabilities = ["create", "read", "update"]
}

# list: finding documents whose secret left the configuration, in the folder itself and in those below it.
# read: `dtrotate check` asks whether Vault deletes a document automatically (`delete_version_after`).
path "secret/metadata/dtrotate/journal/*" {
  capabilities = ["list", "read"]
}

# --- how long the mounts keep what is written ----------------------------------------------------------------------

# read: `max_versions` and `delete_version_after` of a mount. `dtrotate check` compares them with grace, quarantine and schedule, and the
# daemon reports a journal mount that deletes its documents. One rule for each mount of secrets and journal; without it both know less, and
# nothing else depends on it.
path "secret/config" {
  capabilities = ["read"]
}

# --- the daemon's own token ----------------------------------------------------------------------------------------
# The policy `default` has these, too; they stand here for tokens made without it.

# read: how long the own token lives, and whether a 403 means a dead token or a missing right.
path "auth/token/lookup-self" {
  capabilities = ["read"]
}

# update: renewing it in time.
path "auth/token/renew-self" {
  capabilities = ["update"]
}

# update: giving back, at the end, a token that dtrotate logged in for (every auth method but `token`).
path "auth/token/revoke-self" {
  capabilities = ["update"]
}

# update: `dtrotate check` asks what this token may do, path by path, instead of trying it.
path "sys/capabilities-self" {
  capabilities = ["update"]
}

# `sys/internal/ui/mounts/PATH` (is the mount KV v1 or v2?) needs no rule: any right below the mount opens it.
