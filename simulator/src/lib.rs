//! Dynatrace stand-in.
