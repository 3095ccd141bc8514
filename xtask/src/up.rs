//! `cargo xtask up`: from a fresh checkout to a running mesh.

use std::process::Command;

use anyhow::Result;

use crate::paths::Paths;
use crate::toolchain::{INSTALL_TARGET_FLAG, InstallTarget, Toolchain};
use crate::{assets, guests, host, lock, prerequisites, process, progress};

/// Builds what is missing and becomes `rialto up`, which then has the terminal and its Ctrl-C.
pub(crate) fn run(paths: &Paths, arguments: &[String]) -> Result<()> {
    let (install, passed_on) = split(arguments);
    {
        let _lock = lock::hold(paths)?;
        progress::heading("prerequisites");
        prerequisites::check(prerequisites::BUILD)?;
        progress::heading("plan");
        say_plan(paths, install);
        guests::build(paths, install)?;
        host::build(paths)?;
        host::fetch_models(paths)?;
    }
    progress::heading("rialto up");
    process::become_command(&mut command(paths, &passed_on))
}

fn say_plan(paths: &Paths, install: InstallTarget) {
    for (part, plan) in [
        ("cache", paths.cache.display().to_string()),
        ("guest toolchain", Toolchain::plan(paths, install)),
        ("build assets", assets::plan(paths)),
        (
            "services",
            format!("built into {}", paths.services().display()),
        ),
        ("host", host::plan(paths)),
        (
            "models",
            format!("fetched into {}, each checked", paths.artifacts().display()),
        ),
        (
            "then",
            "rialto up, with a tour of paid calls, until Ctrl-C".to_owned(),
        ),
    ] {
        progress::say(format!("   {part:<16} {plan}"));
    }
}

/// Takes this task's own flag from the arguments of `rialto up`.
fn split(arguments: &[String]) -> (InstallTarget, Vec<String>) {
    let passed_on: Vec<String> = arguments
        .iter()
        .filter(|argument| *argument != INSTALL_TARGET_FLAG)
        .cloned()
        .collect();
    let install = if passed_on.len() < arguments.len() {
        InstallTarget::WhenMissing
    } else {
        InstallTarget::Never
    };
    (install, passed_on)
}

/// The command that runs the mesh and shows one paid call of each service.
fn command(paths: &Paths, passed_on: &[String]) -> Command {
    let mut command = Command::new(paths.program("rialto"));
    command.arg("up").args(passed_on);
    if !passed_on.iter().any(|argument| argument == TOUR) {
        command.arg(TOUR);
    }
    // By the environment, so that the user's own flags of these names win.
    command
        .env("RIALTO_SERVICES", paths.services())
        .env("RIALTO_ARTIFACTS", paths.artifacts());
    command
}

/// `rialto`'s flag for the paid calls at the start.
const TOUR: &str = "--tour";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_this_tasks_own_flag_is_kept_back() {
        let arguments = ["--data-dir", "d", INSTALL_TARGET_FLAG, "--json"].map(str::to_owned);
        let (install, passed_on) = split(&arguments);
        assert_eq!(install, InstallTarget::WhenMissing);
        assert_eq!(passed_on, ["--data-dir", "d", "--json"]);
        assert_eq!(split(&passed_on), (InstallTarget::Never, passed_on.clone()));
    }

    #[test]
    fn rialto_is_told_where_services_and_models_are() {
        let paths = Paths {
            root: "/r".into(),
            cache: "/c".into(),
            target: "/t".into(),
        };
        let command = command(&paths, &["--json".to_owned()]);
        assert_eq!(
            command.get_args().collect::<Vec<_>>(),
            ["up", "--json", TOUR]
        );
        let once = super::command(&paths, &[TOUR.to_owned()]);
        assert_eq!(once.get_args().collect::<Vec<_>>(), ["up", TOUR]);
        let services = command
            .get_envs()
            .find(|(name, _)| *name == "RIALTO_SERVICES");
        assert_eq!(
            services.and_then(|(_, value)| value),
            Some("/c/services".as_ref())
        );
    }
}
