//! What the daemon writes about what it does.

use crate::node::word_node;
use crate::section::{any, section};

word_node! {
    /// How a line of the log is written.
    LogFormat {
        /// For people.
        #[default]
        Text,
        /// For programs: one JSON object per line.
        Json,
    }
}

word_node! {
    /// How much is logged. Each level includes those before it.
    LogLevel {
        Error,
        Warn,
        #[default]
        Info,
        Debug,
        Trace,
    }
}

section! {
    /// What is logged. The audit trail is something else and always complete.
    pub struct Log {
        /// "text" for people, "json" for programs.
        pub format: LogFormat = LogFormat::Text, any;
        /// "error", "warn", "info", "debug" or "trace". The environment variable RUST_LOG wins.
        pub level: LogLevel = LogLevel::Info, any;
    }
}
