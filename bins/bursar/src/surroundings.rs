//! What a command takes from the machine it runs on: time, randomness, the environment and the
//! login of whoever runs it.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use bursar_auth::{Act, Principal};
use bursar_model::{Clock, Entropy};
use jiff::Timestamp;

/// The system's clock.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(
        clippy::disallowed_methods,
        reason = "this is the one place of the program where the clock is read"
    )]
    fn now(&self) -> Timestamp {
        Timestamp::now()
    }
}

/// The operating system's random numbers.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemEntropy;

impl Entropy for SystemEntropy {
    fn fill(&self, bytes: &mut [u8]) {
        if let Err(error) = getrandom::fill(bytes) {
            // Going on would make keys that somebody can guess. There is nobody to return an error
            // to, and a machine without random numbers cannot run this program.
            tracing::error!(%error, "the operating system gives no random numbers");
            std::process::exit(1);
        }
    }
}

/// Everything that comes in from outside, so that a test or another program can set it.
#[derive(Clone)]
pub struct Surroundings {
    pub clock: Arc<dyn Clock>,
    pub entropy: Arc<dyn Entropy>,
    /// Who acts, as the audit trail names them.
    pub principal: Principal,
    /// The environment variables that the program reads.
    pub variables: BTreeMap<String, String>,
    /// The directory that relative names of files start from.
    pub directory: PathBuf,
}

impl Surroundings {
    /// This process's own.
    pub fn of_process() -> Self {
        Self {
            clock: Arc::new(SystemClock),
            entropy: Arc::new(SystemEntropy),
            principal: login(),
            variables: std::env::vars_os()
                .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
                .collect(),
            directory: std::env::current_dir().unwrap_or_else(|_| PathBuf::from(".")),
        }
    }

    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// An environment variable that is set and not empty.
    pub fn variable(&self, name: &str) -> Option<&str> {
        self.variables
            .get(name)
            .map(String::as_str)
            .filter(|value| !value.is_empty())
    }

    /// An act of whoever runs the command, now.
    pub fn act(&self, reason: Option<&str>) -> Act {
        let act = Act::new(self.principal.clone(), self.now());
        match reason {
            Some(reason) => act.because(reason),
            None => act,
        }
    }
}

/// The login by the kernel's user id. The environment is not asked: anybody can set `USER`.
fn login() -> Principal {
    let id = rustix::process::getuid().as_raw();
    let name = std::fs::read_to_string("/etc/passwd")
        .ok()
        .and_then(|passwd| name_in(&passwd, id));
    name.and_then(|name| Principal::operator(&name).ok())
        .or_else(|| Principal::operator(&format!("uid-{id}")).ok())
        .unwrap_or(Principal::Recovery)
}

fn name_in(passwd: &str, id: u32) -> Option<String> {
    let id = id.to_string();
    passwd.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)? == id).then(|| name.to_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_login_is_found_by_its_number() {
        let passwd = "root:x:0:0:root:/root:/bin/sh\nops_desk:x:1001:1001::/home/ops:/bin/sh\nshort\n";

        assert_eq!(name_in(passwd, 1001).as_deref(), Some("ops_desk"));
        assert_eq!(name_in(passwd, 5), None);
    }
}
