//! The scopes of classic tokens, from Dynatrace's generated SDK (`@dynatrace-sdk/client-classic-environment-v2` 9.0.1,
//! `ApiTokenCreateScopesItem`). The set changes between releases of Dynatrace.

/// Scopes that a new token may have.
pub const CREATABLE: [&str; 91] = [
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

/// Scopes that only tokens from former times have; refused in a create or an update.
pub const READ_ONLY: [&str; 6] = [
    "DiagnosticExport",
    "MemoryDump",
    "Mobile",
    "ViewDashboard",
    "ViewReport",
    "WriteSyntheticData",
];

/// Reads API tokens, v2.
pub const READ: &str = "apiTokens.read";
/// Creates, changes and deletes API tokens, v2.
pub const WRITE: &str = "apiTokens.write";
/// Everything in the tokens API v1, except lookup, which any scope may.
pub const MANAGE_V1: &str = "TenantTokenManagement";

/// Scopes of a cluster token (Managed).
pub const CLUSTER: [&str; 16] = [
    MANAGE_CLUSTER,
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
/// Everything in the cluster tokens API, lookup included.
pub const MANAGE_CLUSTER: &str = "ClusterTokenManagement";

/// Read, create and write of ActiveGate tokens by the classic route; a create needs one of the last two.
pub(crate) const ACTIVE_GATE: (&str, &str, &str) = (
    "activeGateTokenManagement.read",
    "activeGateTokenManagement.create",
    "activeGateTokenManagement.write",
);
/// Lists the ActiveGates that are connected.
pub(crate) const READ_ACTIVE_GATES: &str = "activeGates.read";
/// The same by fleet management.
pub(crate) const FLEET_ACTIVE_GATE: (&str, &str, &str) = (
    "fleet-management:activegate.tokens:read",
    "fleet-management:activegate.tokens:create",
    "fleet-management:activegate.tokens:write",
);

/// The classic scope that a platform scope stands for on the classic APIs below `/platform`.
pub(crate) fn classic(scope: &str) -> Option<&'static str> {
    Some(match scope {
        "environment-api:api-tokens:read" | "api-tokens:tokens:read" => READ,
        "environment-api:api-tokens:write" | "api-tokens:tokens:write" => WRITE,
        "environment-api:activegate-tokens:read" | "fleet-management:activegate.tokens:read" => {
            ACTIVE_GATE.0
        }
        "environment-api:activegate-tokens:create"
        | "fleet-management:activegate.tokens:create" => ACTIVE_GATE.1,
        "environment-api:activegate-tokens:write" | "fleet-management:activegate.tokens:write" => {
            ACTIVE_GATE.2
        }
        "openpipeline:events.davis:ingest"
        | "storage:events:write"
        | "environment-api:events:write" => super::events::SCOPE,
        _ => return None,
    })
}

/// Whether a text has the form of a platform scope, `service:resource:action`. The reference has no complete list of them.
pub(crate) fn is_platform(scope: &str) -> bool {
    let parts: Vec<&str> = scope.split(':').collect();
    parts.len() == 3 && parts.iter().all(|part| !part.is_empty())
}
