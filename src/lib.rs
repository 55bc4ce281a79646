//! Rotates Dynatrace tokens.
