//! Which settings hold, and where the store lies.

use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use bursar_config::{Known, Settings, StoreUrl, Warning};
use bursar_store_sqlite::{Ballast, EmergencyFile};
use jiff::tz::{self, TimeZone};

use crate::{Exit, Failure, Surroundings, brokers};

/// The settings of an installation and the places that follow from them.
#[derive(Clone, Debug)]
pub struct Installation {
    pub settings: Settings,
    /// The file they were read from; `None` when every value is the default.
    pub file: Option<PathBuf>,
    /// What is allowed in the settings but hardly meant.
    pub warnings: Vec<Warning>,
    pub data_dir: PathBuf,
    /// The store's file.
    pub store: PathBuf,
}

const FILE_NAME: &str = "bursar.toml";
const STORE_NAME: &str = "bursar.db";
const SYSTEM_FILE: &str = "/etc/bursar/bursar.toml";

impl Installation {
    /// Finds and reads the settings: the named file, else the one that `BURSAR_CONFIG` names, else
    /// `bursar.toml` here, else the system's, else none.
    pub fn find(
        named: Option<&Path>,
        data_dir: Option<&Path>,
        surroundings: &Surroundings,
    ) -> Result<Self, Failure> {
        let known = Known {
            brokers: &brokers::names(),
            zone,
        };
        Self::found(Some(&known), named, data_dir, surroundings)
    }

    /// As [`find`](Self::find), and takes brokers and time zones that this program and this machine do not know: to
    /// stop trading needs neither.
    pub(crate) fn find_as_written(
        named: Option<&Path>,
        data_dir: Option<&Path>,
        surroundings: &Surroundings,
    ) -> Result<Self, Failure> {
        Self::found(None, named, data_dir, surroundings)
    }

    fn found(
        known: Option<&Known<'_>>,
        named: Option<&Path>,
        data_dir: Option<&Path>,
        surroundings: &Surroundings,
    ) -> Result<Self, Failure> {
        let here = |path: &Path| surroundings.directory.join(path);
        let named = named
            .map(Path::to_owned)
            .or_else(|| surroundings.variable("BURSAR_CONFIG").map(PathBuf::from));
        let file = match named {
            Some(named) => Some(here(&named)),
            None => [here(Path::new(FILE_NAME)), PathBuf::from(SYSTEM_FILE)]
                .into_iter()
                .find(|path| path.exists()),
        };
        let (settings, warnings) = match &file {
            Some(file) => read(file, known)?,
            None => (Settings::default(), Vec::new()),
        };
        let (data_dir, store) = places(&settings, data_dir, surroundings);
        Ok(Self {
            settings,
            file,
            warnings,
            data_dir,
            store,
        })
    }

    /// Without a settings file: every value is the default.
    pub fn with_defaults(data_dir: Option<&Path>, surroundings: &Surroundings) -> Self {
        let settings = Settings::default();
        let (data_dir, store) = places(&settings, data_dir, surroundings);
        Self {
            settings,
            file: None,
            warnings: Vec::new(),
            data_dir,
            store,
        }
    }

    /// Where a settings file is written when there is none.
    pub fn new_file(&self, surroundings: &Surroundings) -> PathBuf {
        surroundings.directory.join(FILE_NAME)
    }

    /// The file that takes stops when the store cannot.
    pub fn emergency_file(&self) -> EmergencyFile {
        let name = self.settings.switches.emergency_file.as_str();
        EmergencyFile::at(self.data_dir.join(name))
    }

    /// The file that halts everything when somebody makes it.
    pub fn halt_file(&self) -> PathBuf {
        self.data_dir.join(self.settings.switches.halt_file.as_str())
    }

    /// What is thrown off when the disk is full. Beside the store, because that is where room is needed.
    pub fn ballast(&self) -> Ballast {
        let folder = self.store.parent().unwrap_or(&self.data_dir);
        let megabytes = u64::from(self.settings.switches.ballast_mb);
        Ballast::at(folder.join("ballast"), megabytes.saturating_mul(1_000_000))
    }

    /// Makes the folders of the store, for their owner alone, and tells which.
    pub(crate) fn make_folders(&self) -> Result<Vec<PathBuf>, Failure> {
        let folders = self.kept_from_keys();
        for folder in &folders {
            DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(folder)
                .map_err(|error| {
                    Failure::new(
                        Exit::Unavailable,
                        format!("the folder `{}` cannot be made: {error}", folder.display()),
                        "name a folder that you may write to with `--data-dir`",
                    )
                })?;
        }
        Ok(folders)
    }

    /// The folders in which no unlock key may lie.
    pub fn kept_from_keys(&self) -> Vec<PathBuf> {
        let mut folders = vec![self.data_dir.clone()];
        if let Some(folder) = self.store.parent()
            && folder != self.data_dir
        {
            folders.push(folder.to_owned());
        }
        folders
    }
}

/// A name beside a file, as the engine gives names to what belongs to a store.
pub(crate) fn beside(file: &Path, suffix: &str) -> PathBuf {
    let mut name = file.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

/// The data folder and the store's file.
fn places(settings: &Settings, data_dir: Option<&Path>, surroundings: &Surroundings) -> (PathBuf, PathBuf) {
    let here = |path: &Path| surroundings.directory.join(path);
    let settled = PathBuf::from(settings.data_dir.as_str());
    let data_dir = data_dir
        .map(Path::to_owned)
        .or_else(|| surroundings.variable("BURSAR_DATA_DIR").map(PathBuf::from))
        .unwrap_or_else(|| settled.clone());
    let data_dir = here(&data_dir);
    let StoreUrl::Sqlite { path } = &settings.store.url;
    let placed = Path::new(&**path);
    // A store that the settings put into their data folder, or nowhere in particular, goes along
    // with a data folder that is named for this run.
    let goes_along = settings.store == Settings::default().store || placed == settled.join(STORE_NAME);
    let store = if goes_along {
        data_dir.join(STORE_NAME)
    } else {
        here(placed)
    };
    (data_dir, store)
}

fn read(file: &Path, known: Option<&Known<'_>>) -> Result<(Settings, Vec<Warning>), Failure> {
    let text = std::fs::read_to_string(file).map_err(|error| {
        let (exit, hint) = match error.kind() {
            std::io::ErrorKind::InvalidData => (
                Exit::Usage,
                "it is not text: put it back from a copy; `bursar config schema` says what belongs there",
            ),
            _ => (
                Exit::Failed,
                "name an existing file with `--config`, or leave it out to use the defaults",
            ),
        };
        Failure::new(
            exit,
            format!("the settings `{}` cannot be read: {error}", file.display()),
            hint,
        )
    })?;
    let name = file.display().to_string();
    let checked = match known {
        Some(known) => bursar_config::check_against(known, &text, &name),
        None => bursar_config::check(&text, &name),
    };
    checked.map_err(|error| Failure::of(Exit::Usage, &error, error.hint()))
}

fn zone(name: &str) -> Result<(), Vec<String>> {
    // Known without a list of zones, which a bare machine does not have.
    if name == "UTC" {
        return Ok(());
    }
    TimeZone::get(name)
        .map(drop)
        .map_err(|_| tz::db().available().map(|zone| zone.to_string()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn surroundings(directory: &Path) -> Surroundings {
        Surroundings {
            variables: std::collections::BTreeMap::new(),
            directory: directory.to_owned(),
            ..Surroundings::of_process()
        }
    }

    #[test]
    fn without_a_file_everything_has_a_default() {
        let folder = tempfile::tempdir().unwrap();

        let found = Installation::find(None, None, &surroundings(folder.path())).unwrap();

        assert_eq!(found.store, folder.path().join("bursar-data/bursar.db"));
        assert_eq!(found.file, None);
    }

    #[test]
    fn a_named_data_folder_takes_the_store_along() {
        let folder = tempfile::tempdir().unwrap();

        let found =
            Installation::find(None, Some(Path::new("elsewhere")), &surroundings(folder.path())).unwrap();

        assert_eq!(found.store, folder.path().join("elsewhere/bursar.db"));
    }

    #[test]
    fn d29_a_mistake_in_the_settings_is_told_with_its_line() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("bursar.toml"), "\n[caps]\norder_usb = 5\n").unwrap();

        let failure = Installation::find(None, None, &surroundings(folder.path())).unwrap_err();

        assert!(failure.message().contains("bursar.toml:3:1"), "{failure}");
        assert!(failure.message().contains("order_usd"), "{failure}");
    }

    #[test]
    fn d29_a_slip_in_the_name_of_a_broker_or_a_time_zone_is_told_with_the_right_name() {
        let folder = tempfile::tempdir().unwrap();
        let told = |text: &str| {
            std::fs::write(folder.path().join("bursar.toml"), text).unwrap();
            Installation::find(None, None, &surroundings(folder.path()))
                .map_err(|failure| failure.to_string())
        };

        let broker = told("[brokers.krakne]\nmaster_policy = \"require\"\n").unwrap_err();
        let other = told("[brokers.coinbase]\n").unwrap_err();
        let zone = told("[day]\nzone = \"Europe/Stokholm\"\n").unwrap_err();

        assert!(broker.contains("bursar.toml:1:10: `brokers.krakne`"), "{broker}");
        assert!(broker.contains("did you mean `kraken`?"), "{broker}");
        assert!(other.contains("there are kraken, paper"), "{other}");
        assert!(zone.contains("bursar.toml:2:1: `day.zone`"), "{zone}");
        assert!(zone.contains("did you mean `Europe/Stockholm`?"), "{zone}");
        for fine in [
            "[brokers.kraken]\n[brokers.paper]\n",
            "[day]\nzone = \"Europe/Stockholm\"\n",
        ] {
            assert!(told(fine).is_ok(), "{fine}");
        }
    }
}
