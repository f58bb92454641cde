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
        /// What did not work and needs somebody.
        Error,
        /// What did not work and is tried again, or may need somebody.
        Warn,
        /// What happened.
        #[default]
        Info,
        /// How it happened, for finding a fault.
        Debug,
        /// Everything that is told.
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
