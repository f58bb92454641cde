use std::fmt;
use std::sync::Arc;

use bursar_execution::errors::ErrorPolicy;
use bursar_model::{Clock, Entropy};

/// What a store takes from outside.
#[derive(Clone)]
pub struct Environment {
    /// For changes whose caller does not say when.
    pub clock: Arc<dyn Clock>,
    /// For ids.
    pub entropy: Arc<dyn Entropy>,
    /// Which process writes; named in every audit record.
    pub node: String,
    /// How many errors of a kind stop an account.
    pub errors: ErrorPolicy,
}

impl Environment {
    /// With the default thresholds for errors.
    pub fn new(clock: Arc<dyn Clock>, entropy: Arc<dyn Entropy>, node: impl Into<String>) -> Self {
        Self {
            clock,
            entropy,
            node: node.into(),
            errors: ErrorPolicy::default(),
        }
    }
}

impl fmt::Debug for Environment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Environment")
            .field("node", &self.node)
            .field("errors", &self.errors)
            .finish_non_exhaustive()
    }
}
