//! The scopes that a new API token may have, from Dynatrace's generated SDK (`@dynatrace-sdk/client-classic-environment-v2` 9.0.1,
//! `ApiTokenCreateScopesItem`). The set changes between releases of Dynatrace, so one that is not listed here may exist all the same.
//! The simulator has a list for itself: neither may share a mistake of the other.

/// The known scopes, by name.
pub const SCOPES: &[&str] = &[
    "ActiveGateCertManagement",
    "AdvancedSyntheticIntegration",
    "CaptureRequestData",
    "DTAQLAccess",
    "DataExport",
    "DataImport",
    "DataPrivacy",
    "Davis",
    "DssFileManagement",
    "ExternalSyntheticIntegration",
    "InstallerDownload",
    "LogExport",
    "PluginUpload",
    "ReadConfig",
    "ReadSyntheticData",
    "RestRequestForwarding",
    "RumBrowserExtension",
    "RumJavaScriptTagManagement",
    "SupportAlert",
    "TenantTokenManagement",
    "UserSessionAnonymization",
    "WriteConfig",
    "activeGateTokenManagement.create",
    "activeGateTokenManagement.read",
    "activeGateTokenManagement.write",
    "activeGates.read",
    "activeGates.write",
    "adaptiveTrafficManagement.read",
    "agentTokenManagement.read",
    "apiTokens.read",
    "apiTokens.write",
    "attacks.read",
    "attacks.write",
    "auditLogs.read",
    "bizevents.ingest",
    "credentialVault.read",
    "credentialVault.write",
    "entities.read",
    "entities.write",
    "events.ingest",
    "events.read",
    "extensionConfigurationActions.write",
    "extensionConfigurations.read",
    "extensionConfigurations.write",
    "extensionDiscoveryJmx.read",
    "extensionDiscoveryPmi.read",
    "extensionEnvironment.read",
    "extensionEnvironment.write",
    "extensions.read",
    "extensions.write",
    "geographicRegions.read",
    "hub.install",
    "hub.read",
    "hub.write",
    "javaScriptMappingFiles.read",
    "javaScriptMappingFiles.write",
    "logs.ingest",
    "logs.read",
    "metrics.ingest",
    "metrics.read",
    "metrics.write",
    "networkZones.read",
    "networkZones.write",
    "oneAgents.read",
    "oneAgents.write",
    "openTelemetryTrace.ingest",
    "openpipeline.events",
    "openpipeline.events.custom",
    "openpipeline.events_sdlc",
    "openpipeline.events_sdlc.custom",
    "openpipeline.events_security",
    "openpipeline.events_security.custom",
    "openpipeline.events_smartscape",
    "problems.read",
    "problems.write",
    "releases.read",
    "rumCookieNames.read",
    "rumManualInsertionTags.read",
    "securityProblems.read",
    "securityProblems.write",
    "settings.read",
    "settings.write",
    "slo.read",
    "slo.write",
    "syntheticExecutions.read",
    "syntheticExecutions.write",
    "syntheticLocations.read",
    "syntheticLocations.write",
    "tenantTokenRotation.write",
    "traces.lookup",
    "unifiedAnalysis.read",
];

/// The scopes of a token of a Managed cluster, from the documentation of the cluster API.
pub const CLUSTER_SCOPES: &[&str] = &[
    "ClusterTokenManagement",
    "ControlManagement",
    "DiagnosticExport",
    "EnvironmentTokenManagement",
    "ExternalSyntheticIntegration",
    "Nodekeeper",
    "ReadSyntheticData",
    "ServiceProviderAPI",
    "UnattendedInstall",
    "activeGateTokenManagement.create",
    "activeGateTokenManagement.read",
    "activeGateTokenManagement.write",
    "apiTokens.read",
    "apiTokens.write",
    "settings.read",
    "settings.write",
];

/// "scope a", "scopes a and b".
pub fn in_words(scopes: &[impl AsRef<str>]) -> String {
    let names: Vec<&str> = scopes.iter().map(AsRef::as_ref).collect();
    let word = if names.len() == 1 { "scope" } else { "scopes" };
    format!("{word} {}", names.join(" and "))
}

/// "add it in Dynatrace" to the end of a sentence about these missing scopes.
pub fn add_in_dynatrace(missing: &[impl AsRef<str>]) -> &'static str {
    match missing.len() {
        1 => "add it in Dynatrace",
        _ => "add them in Dynatrace",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_named_and_to_be_added() {
        assert_eq!(in_words(&["a"]), "scope a");
        assert_eq!(in_words(&["a", "b"]), "scopes a and b");
        assert_eq!(add_in_dynatrace(&["a"]), "add it in Dynatrace");
        assert_eq!(add_in_dynatrace(&["a", "b"]), "add them in Dynatrace");
    }

    #[test]
    fn the_list_is_in_order_and_names_the_rights_that_are_never_given() {
        assert!(SCOPES.is_sorted() && CLUSTER_SCOPES.is_sorted());
        for managing in ["apiTokens.write", "TenantTokenManagement"] {
            assert!(SCOPES.contains(&managing));
        }
    }
}
