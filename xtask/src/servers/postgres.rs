//! A PostgreSQL with TLS and passwords, of the programs that are installed.

use std::{
    env, fs,
    os::unix::{
        fs::{PermissionsExt, chown},
        process::CommandExt,
    },
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use crate::{
    Error,
    guard::Guarded,
    server::{Server, Setting, free_port, output_to_log, run, soon, wait_for_port},
};

/// A certificate authority, and the server's certificate.
const OPENSSL: &str = "\
[req]
distinguished_name = name
[name]
[authority]
basicConstraints = critical, CA:TRUE
keyUsage = critical, keyCertSign
subjectKeyIdentifier = hash
[server]
basicConstraints = critical, CA:FALSE
extendedKeyUsage = serverAuth
subjectAltName = DNS:localhost, IP:127.0.0.1
";
/// The server dies at once, with the processes that serve its connections: they would go on with what they were
/// asked for.
const KILL: &str = "kill -STOP $0; pkill -KILL -P $0; kill -KILL $0";

/// Starts one with its data in `dir`. `settings` are those of postgresql.conf.
///
/// Over TCP it wants the password that is in the address; its Unix socket, in `dir`, wants none.
pub(super) fn start(dir: &Path, port: Option<u16>, settings: &[Setting]) -> Result<Server, Error> {
    let bin = bin().ok_or(
        "PostgreSQL's server is not installed (Debian: apt-get install postgresql). Or set \
         TIDEGATE_TEST_POSTGRES to the URL of one that runs",
    )?;
    let place = Place { dir, user: unprivileged_user()? };
    place.take()?;
    if !dir.join("password").exists() {
        place.make_certificates()?;
        run(place.command("openssl").args(["rand", "-hex", "-out", "password", "16"]))?;
    }
    if !dir.join("data/PG_VERSION").exists() {
        let mut initdb = place.command(bin.join("initdb"));
        initdb.args(["--pgdata=data", "--username=postgres", "--pwfile=password", "--no-sync"]);
        run(initdb.args([
            "--auth-local=trust",
            "--auth-host=scram-sha-256",
            "--encoding=UTF8",
            "--no-locale",
        ]))?;
    }
    place.wait_for_the_last_server();
    let port = port.map_or_else(free_port, wait_for_port)?.to_string();
    let mut postgres = place.command(bin.join("postgres"));
    postgres.args(["-D", "data", "-p", &port]);
    let mut set = |name: &str, value: &str| _ = postgres.args(["-c", &format!("{name}={value}")]);
    set("listen_addresses", "127.0.0.1");
    set("unix_socket_directories", &dir.display().to_string());
    set("ssl", "on");
    set("ssl_cert_file", "../server.pem");
    set("ssl_key_file", "../server.key");
    // What it wrote outlives its own death, if not the machine's.
    set("fsync", "off");
    settings.iter().for_each(|(name, value)| set(name, value));
    output_to_log(&mut postgres, dir, "postgres")?;
    let process = Guarded::spawn(&mut postgres, &["kill", "-INT", "{pid}"], &["sh", "-c", KILL, "{pid}"])?;
    let password = fs::read_to_string(dir.join("password"))?;
    let address = format!("postgres://postgres:{}@127.0.0.1:{port}/postgres", password.trim());
    let ready = || {
        let mut ask = Command::new(bin.join("pg_isready"));
        Ok(ask.args(["--quiet", "--host=127.0.0.1", "--port", &port]).status()?.success())
    };
    Server::new("postgres", address, dir, process, ready)
}

/// The certificate that the server's is signed by.
pub(super) fn ca(dir: &Path) -> PathBuf {
    dir.join("ca.pem")
}

/// Where the server's programs are: Debian has them in a directory that is not searched.
fn bin() -> Option<PathBuf> {
    let searched = env::var_os("PATH").unwrap_or_default();
    let debian = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let mut dirs = env::split_paths(&searched).chain(debian.map(|version| version.path().join("bin")));
    // A link is to where the other programs of the same version are.
    let initdb = dirs.find_map(|dir| dir.join("initdb").canonicalize().ok())?;
    Some(initdb.parent()?.to_owned())
}

/// A user and a group.
type User = (u32, u32);

/// For root, whom PostgreSQL refuses to run as: who runs it instead.
fn unprivileged_user() -> Result<Option<User>, Error> {
    if !rustix::process::geteuid().is_root() {
        return Ok(None);
    }
    let users = fs::read_to_string("/etc/passwd")?;
    let user = ["postgres", "nobody"].into_iter().find_map(|name| user_named(name, &users));
    Ok(Some(user.ok_or("PostgreSQL does not run as root, and there is no user postgres or nobody")?))
}

fn user_named(name: &str, users: &str) -> Option<User> {
    let mut fields =
        users.lines().map(|line| line.split(':')).find(|fields| fields.clone().next() == Some(name))?;
    Some((fields.nth(2)?.parse().ok()?, fields.next()?.parse().ok()?))
}

/// A directory, and the user who works there if it is not us.
struct Place<'a> {
    dir: &'a Path,
    user: Option<User>,
}

impl Place<'_> {
    /// Makes the directory the user's, and nobody else's.
    fn take(&self) -> Result<(), Error> {
        if let Some((user, group)) = self.user {
            chown(self.dir, Some(user), Some(group))?;
        }
        Ok(fs::set_permissions(self.dir, PermissionsExt::from_mode(0o700))?)
    }

    fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new(program);
        command.current_dir(self.dir);
        if let Some((user, group)) = self.user {
            command.uid(user).gid(group);
        }
        command
    }

    /// One that was just killed counts as alive until its exit status has been asked for.
    fn wait_for_the_last_server(&self) {
        let file = fs::read_to_string(self.dir.join("data/postmaster.pid")).unwrap_or_default();
        if let Some(pid) = file.lines().next() {
            let mut ask = self.command("kill");
            ask.args(["-0", pid]).stderr(Stdio::null());
            soon(|| !ask.status().is_ok_and(|status| status.success()));
        }
    }

    fn make_certificates(&self) -> Result<(), Error> {
        fs::write(self.dir.join("openssl.cnf"), OPENSSL)?;
        let openssl = |args: &str| run(self.command("openssl").args(args.split(' ')));
        let key = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -config openssl.cnf";
        let authority = "-subj /CN=tidegate-test-authority -extensions authority -days 3650";
        openssl(&format!("req -x509 {key} {authority} -keyout ca.key -out ca.pem"))?;
        openssl(&format!("req -new {key} -subj /CN=localhost -keyout server.key -out server.csr"))?;
        let server = "-extfile openssl.cnf -extensions server -days 3650";
        openssl(&format!(
            "x509 -req -in server.csr -CA ca.pem -CAkey ca.key -CAcreateserial {server} -out server.pem"
        ))
    }
}
