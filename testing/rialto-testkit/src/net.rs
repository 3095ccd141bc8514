//! A network of this process's own: places with an address each, whose every packet passes through a
//! [`Router`] that delays, loses and cuts as it is told.
//!
//! A place is a network namespace without a name, and ends with its holder, which ends with this process. Its
//! one interface is a TUN device: nothing here touches the machine's interfaces or its firewall. The process
//! has to be in a user and network namespace of its own first: [`enter`].

pub mod packet;
pub mod router;

use std::ffi::OsStr;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use tun_tap::{Iface, Mode};

use router::Router;

/// Whether this process is inside already.
#[must_use]
pub fn is_inside() -> bool {
    std::env::var_os(INSIDE).is_some()
}

/// Runs one test of this program again, inside a network of its own, and waits for it. No right is needed
/// where the system lets users make namespaces; elsewhere root's.
///
/// # Errors
/// Namespaces or TUN devices cannot be had here, with what to do; or it took longer than `time_max`.
pub fn enter(test: &str, time_max: Duration) -> Result<ExitStatus> {
    let program = std::env::current_exe()?;
    let mut child = unshare()?
        .arg("--")
        .arg(program)
        .args(["--exact", test, "--nocapture"])
        .env(INSIDE, "1")
        .stdin(Stdio::null())
        .spawn()?;
    let give_up = Instant::now() + time_max;
    while Instant::now() < give_up {
        if let Some(status) = child.try_wait()? {
            return Ok(status);
        }
        std::thread::park_timeout(Duration::from_millis(50));
    }
    child.kill()?;
    child.wait()?;
    bail!("not finished after {time_max:?}")
}

/// The way into a network of one's own that works here: as any user, else as root.
fn unshare() -> Result<Command> {
    let ways: [&[&str]; 2] = [&["--user", "--map-root-user", "--net"], &["--net"]];
    for way in ways {
        let mut probe = Command::new("unshare");
        probe.args(way).args(["--", "sh", "-c", PROBE]);
        if probe.output().is_ok_and(|output| output.status.success()) {
            let mut command = Command::new("unshare");
            command.args(way);
            return Ok(command);
        }
    }
    bail!(
        "network namespaces cannot be made here, so NOTHING WAS TESTED. What is needed: iproute2 and util-linux \
         (`apt-get install -y iproute2 util-linux`), a readable and writable /dev/net/tun (`modprobe tun`), and \
         namespaces for users (`sysctl -w user.max_user_namespaces=10000`, and on Ubuntu \
         `sysctl -w kernel.apparmor_restrict_unprivileged_userns=0`), or to run as root. In a container: \
         `--cap-add NET_ADMIN --cap-add SYS_ADMIN --device /dev/net/tun`"
    )
}

/// A network namespace with one address.
#[derive(Debug)]
pub struct Place {
    holder: Child,
    address: Ipv4Addr,
}

impl Place {
    /// Makes a place and joins it to the router.
    ///
    /// # Errors
    /// The system does not let this process do so.
    pub fn new(router: &Router, name: &str, address: Ipv4Addr) -> Result<Self> {
        // It ends when its input does: at the latest with this process, however that ends.
        let mut holder = Command::new("unshare")
            .args(["--net", "--", "cat"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("cannot start unshare")?;
        let echoed = echo(&mut holder);
        let place = Self { holder, address };
        echoed.context("no namespace was made")?;
        let device = Iface::without_packet_info(name, Mode::Tun).context("no TUN device")?;
        ip(&["link", "set", name, "netns", &place.id()])?;
        for line in setup(name, address) {
            let line: Vec<&str> = line.split(' ').collect();
            succeed(place.command("ip").args(line))?;
        }
        router.join(address, device);
        Ok(place)
    }

    /// A program that will run here. Its process id is that of the child which is started.
    #[must_use]
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new("nsenter");
        command.args(["--target", &self.id(), "--net", "--"]);
        command.arg(program);
        command
    }

    /// Writes a script that starts a program here, for those who start programs by their path.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn script(&self, file: PathBuf, program: &Path) -> Result<PathBuf> {
        use std::os::unix::fs::PermissionsExt as _;
        let text = format!(
            "#!/bin/sh\nexec nsenter --target {} --net -- '{}' \"$@\"\n",
            self.id(),
            program.display()
        );
        std::fs::write(&file, text)?;
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o755))?;
        Ok(file)
    }

    /// Its address.
    #[must_use]
    pub const fn address(&self) -> Ipv4Addr {
        self.address
    }

    fn id(&self) -> String {
        self.holder.id().to_string()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.holder.kill().ok();
        self.holder.wait().ok();
    }
}

/// Joins this process's own namespace to the router.
///
/// # Errors
/// The system does not let this process do so.
pub fn join(router: &Router, name: &str, address: Ipv4Addr) -> Result<()> {
    let device = Iface::without_packet_info(name, Mode::Tun).context("no TUN device")?;
    for line in setup(name, address) {
        ip(&line.split(' ').collect::<Vec<_>>())?;
    }
    router.join(address, device);
    Ok(())
}

fn setup(name: &str, address: Ipv4Addr) -> [String; 4] {
    [
        "link set lo up".to_owned(),
        format!("address add {address}/32 dev {name}"),
        format!("link set {name} up"),
        format!("route add default dev {name}"),
    ]
}

/// Waits until the holder is in its namespace: only then does it answer.
fn echo(holder: &mut Child) -> Result<()> {
    let input = holder.stdin.as_mut().context("no input")?;
    input.write_all(b"here\n")?;
    let output = holder.stdout.as_mut().context("no output")?;
    let mut line = String::new();
    BufReader::new(output).read_line(&mut line)?;
    ensure!(line == "here\n", "it said {line:?}");
    Ok(())
}

fn ip(arguments: &[&str]) -> Result<()> {
    succeed(Command::new("ip").args(arguments))
}

fn succeed(command: &mut Command) -> Result<()> {
    let output = command
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("cannot start {command:?}"))?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{command:?} failed: {said}");
    Ok(())
}

const INSIDE: &str = "RIALTO_TEST_NETWORK";
/// Whether what places need can be had: a device, and a namespace within.
const PROBE: &str =
    "ip tuntap add dev probe mode tun && unshare --net -- ip link set lo up && : <>/dev/net/tun";
