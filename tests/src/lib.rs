//! Stories, the architecture check, and conformance with real clients. Nothing here is shipped.
