//! What a command takes from the machine it runs on: time, randomness, the environment and the
//! login of whoever runs it.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use bursar_auth::{Act, Principal};
use bursar_keystore::SystemEntropy;
use bursar_model::{Clock, Entropy};
use bursar_permissions::Caller;
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

/// Everything that comes in from outside, so that a test or another program can set it.
#[derive(Clone)]
pub struct Surroundings {
    pub clock: Arc<dyn Clock>,
    pub entropy: Arc<dyn Entropy>,
    /// Who acts, as the audit trail names them.
    pub principal: Principal,
    /// Whether the kernel tells the person from everybody else who may act with the rights of this process. Where
    /// it does not, nobody is one of two people.
    pub is_person_known: bool,
    /// The environment variables that the program reads.
    pub variables: BTreeMap<String, String>,
    /// The directory that relative names of files start from.
    pub directory: PathBuf,
}

impl Surroundings {
    /// This process's own.
    pub fn of_process() -> Self {
        let person = Person::of_process();
        Self {
            clock: Arc::new(SystemClock),
            entropy: Arc::new(SystemEntropy),
            principal: person.principal(),
            is_person_known: person.is_known,
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

    /// Whoever runs the command, as the one who gives an order.
    pub fn caller(&self) -> Caller {
        match &self.principal {
            Principal::Operator { name } => Caller::Person {
                login: name.as_str().to_owned(),
            },
            Principal::User { .. } | Principal::Strategy { .. } | Principal::Daemon | Principal::Recovery => {
                Caller::Operator
            }
        }
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

/// Whether this process has the rights of another than the person behind it, as by `sudo`.
pub(crate) fn are_rights_lent() -> bool {
    Person::of_process().user != rustix::process::geteuid().as_raw()
}

/// What the kernel says when nobody logged in.
const NOBODY: u32 = u32::MAX;

/// The login of this session, as the kernel knows it.
fn logged_in() -> Option<u32> {
    let text = std::fs::read_to_string("/proc/self/loginuid").ok()?;
    text.trim().parse().ok()
}

/// The person behind a process, by what the kernel knows. The environment is not asked: anybody can set `USER`
/// or `SUDO_USER`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Person {
    user: u32,
    is_known: bool,
}

impl Person {
    fn of_process() -> Self {
        Self::behind(rustix::process::getuid().as_raw(), logged_in(), &ancestors())
    }

    /// The login that the kernel recorded when the session began and that no `sudo` changes; else the outermost
    /// process above this one that is not root's; else this process's own user. Without a recorded login that last
    /// one is anybody who may act as it: whoever detaches a command from their session leaves no process above it.
    fn behind(own: u32, login: Option<u32>, ancestors: &[u32]) -> Self {
        if let Some(user) = login.filter(|login| *login != NOBODY && *login != 0) {
            return Self { user, is_known: true };
        }
        let outermost = ancestors.iter().rev().find(|id| **id != 0).copied();
        let user = outermost.unwrap_or(own);
        Self {
            user,
            is_known: user != own,
        }
    }

    fn principal(self) -> Principal {
        let name = std::fs::read_to_string("/etc/passwd")
            .ok()
            .and_then(|passwd| name_in(&passwd, self.user));
        name.and_then(|name| Principal::operator(&name).ok())
            .or_else(|| Principal::operator(&format!("uid-{}", self.user)).ok())
            .unwrap_or(Principal::Recovery)
    }
}

/// The users of the processes above this one, nearest first, this one's own before them.
fn ancestors() -> Vec<u32> {
    /// Deeper than any real chain of processes.
    const DEEPEST: usize = 64;
    let mut users = Vec::new();
    let mut process = "self".to_owned();
    while users.len() < DEEPEST {
        let Some((parent, user)) = std::fs::read_to_string(format!("/proc/{process}/status"))
            .ok()
            .and_then(|status| parent_and_user(&status))
        else {
            break;
        };
        users.push(user);
        if parent == 0 {
            break;
        }
        process = parent.to_string();
    }
    users
}

/// The parent's number and the real user, from a process's `status`.
fn parent_and_user(status: &str) -> Option<(u32, u32)> {
    let field = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name))?;
        line.split_whitespace().next()?.parse().ok()
    };
    Some((field("PPid:")?, field("Uid:")?))
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

    #[test]
    fn sudo_does_not_change_who_acts() {
        let (root, service, mara, tomas) = (0, 998, 1001, 1002);
        let known = |user| Person { user, is_known: true };

        assert_eq!(
            Person::behind(service, Some(mara), &[service, root, tomas]),
            known(mara),
            "the kernel's record"
        );
        assert_eq!(
            Person::behind(service, Some(mara), &[service, root]),
            known(mara),
            "the kernel's record of a command that was detached"
        );
        assert_eq!(
            Person::behind(service, Some(NOBODY), &[service, root, mara, mara, root]),
            known(mara),
            "by sudo"
        );
    }

    #[test]
    fn nobody_becomes_a_second_person_by_detaching_a_command() {
        let (root, service, mara) = (0, 998, 1001);
        let anybody = |user| Person {
            user,
            is_known: false,
        };

        for login in [None, Some(NOBODY), Some(root)] {
            let detached = Person::behind(service, login, &[service, root]);
            assert_eq!(detached, anybody(service), "by sudo, or started by the system");
            let detached = Person::behind(service, login, &[service, service, root, root]);
            assert_eq!(detached, anybody(service), "with a shell between");
            let owner = Person::behind(mara, login, &[mara, mara, root]);
            assert_eq!(owner, anybody(mara), "as the one whose store it is");
            assert_eq!(Person::behind(root, login, &[root, root]), anybody(root));
        }
    }

    #[test]
    fn a_process_says_who_started_it() {
        let status = "Name:\tbash\nUmask:\t0022\nPid:\t42\nPPid:\t7\nUid:\t1001\t1001\t1001\t1001\n";

        assert_eq!(parent_and_user(status), Some((7, 1001)));
        assert_eq!(parent_and_user("Name:\tbash\n"), None);
        assert!(!ancestors().is_empty(), "this process has a status");
    }
}
