//! How the server is reached, from the settings and the URL.

use std::{borrow::Cow, path::PathBuf, time::Duration};

use tidegate_config::{Postgres, SslMode};
use tokio_postgres::{
    Config,
    config::{Host, SslMode as ClientMode},
};

use crate::tls::{Roots, Verify};

/// How long one address is waited for.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// A peer that is silent for so long is asked whether it is there.
const KEEPALIVE: Duration = Duration::from_secs(30);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(10);
const KEEPALIVE_RETRIES: u32 = 3;
/// What the peer does not acknowledge for so long is lost, and the connection with it.
const UNACKNOWLEDGED: Duration = Duration::from_secs(30);

/// The client's own default, by which it is told that nobody has set it.
const DEFAULT_KEEPALIVE: Duration = Duration::from_secs(2 * 60 * 60);

const BAD_URL: &str = "the url cannot be read: it is postgres://user:password@host:port/database?key=value, with special \
                       characters percent-encoded; keys are sslmode, sslrootcert, sslnegotiation, channel_binding, \
                       connect_timeout, tcp_user_timeout, keepalives, keepalives_idle, keepalives_interval, \
                       keepalives_retries, target_session_attrs, load_balance_hosts, application_name, options, host, \
                       hostaddr, port, user, password, dbname";

/// How the server is reached.
pub(super) struct Target {
    pub(super) config: Config,
    pub(super) sslmode: SslMode,
    /// Certificates that the server's is checked against, instead of the system's.
    pub(super) ca: Option<PathBuf>,
}

impl Target {
    /// Reads the secrets as they are now.
    ///
    /// # Errors
    /// If a file or the URL cannot be read; in words without secrets.
    pub(super) fn read(settings: &Postgres) -> Result<Self, String> {
        let url = settings.url.read().map_err(|error| error.to_string())?;
        let mut target = Self::of(settings, url.as_ref().map(|url| url.expose()))?;
        if target.config.get_password().is_none()
            && let Some(password) = settings.password.read().map_err(|error| error.to_string())?
        {
            target.config.password(password.expose());
        }
        Ok(target)
    }

    /// All but a password that is not in the URL.
    fn of(settings: &Postgres, url: Option<&str>) -> Result<Self, String> {
        let Parts { url, sslmode, ca } = url.map_or_else(|| Ok(Parts::default()), Parts::of)?;
        let mut config = match url {
            Some(url) => url.parse::<Config>().map_err(|_| BAD_URL)?,
            None => Config::new(),
        };
        if config.get_hosts().is_empty() && config.get_hostaddrs().is_empty() {
            config.host(&settings.host);
        }
        if config.get_ports().is_empty() {
            config.port(settings.port);
        }
        if config.get_dbname().is_none() {
            config.dbname(&settings.database);
        }
        if config.get_user().is_none() {
            config.user(&settings.user);
        }
        be_watchful(&mut config);
        let ca = match ca {
            Some(path) if path == "system" => None,
            Some(path) => Some(PathBuf::from(path)),
            None => settings.ca.clone(),
        };
        let mut sslmode = sslmode.unwrap_or(settings.sslmode);
        // As libpq has it: no TLS through a Unix socket, and a file of certificates makes `require` check them.
        if config.get_hosts().iter().all(|host| matches!(host, Host::Unix(_)))
            && !config.get_hosts().is_empty()
        {
            sslmode = SslMode::Disable;
        } else if sslmode == SslMode::Require && ca.is_some() {
            sslmode = SslMode::VerifyCa;
        }
        config.ssl_mode(match sslmode {
            SslMode::Disable => ClientMode::Disable,
            SslMode::Prefer => ClientMode::Prefer,
            SslMode::Require | SslMode::VerifyCa | SslMode::VerifyFull => ClientMode::Require,
        });
        if sslmode == SslMode::VerifyFull && config.get_hosts().is_empty() {
            return Err("sslmode=verify-full needs the host's name: set host beside hostaddr".to_owned());
        }
        Ok(Self { config, sslmode, ca })
    }

    /// What of the server's certificate is looked at.
    pub(super) fn verify(&self) -> Verify<'_> {
        let roots = self.ca.as_deref().map_or(Roots::System, Roots::File);
        match self.sslmode {
            SslMode::Disable | SslMode::Prefer | SslMode::Require => Verify::Nothing,
            SslMode::VerifyCa => Verify::Signature(roots),
            SslMode::VerifyFull => Verify::Host(roots),
        }
    }
}

/// Reads a URL that is given as it is, without asking anybody.
///
/// # Errors
/// If it is no URL of a PostgreSQL server; in words that do not show it.
pub fn check_url(settings: &Postgres) -> Result<(), String> {
    let Some(url) = &settings.url.value else { return Ok(()) };
    Target::of(settings, Some(url.expose())).map(drop)
}

/// A peer that is gone is noticed, unless the URL says otherwise.
fn be_watchful(config: &mut Config) {
    if config.get_connect_timeout().is_none() {
        config.connect_timeout(CONNECT_TIMEOUT);
    }
    if config.get_tcp_user_timeout().is_none() {
        config.tcp_user_timeout(UNACKNOWLEDGED);
    }
    if config.get_keepalives_idle() == DEFAULT_KEEPALIVE {
        config.keepalives_idle(KEEPALIVE);
    }
    if config.get_keepalives_interval().is_none() {
        config.keepalives_interval(KEEPALIVE_INTERVAL);
    }
    if config.get_keepalives_retries().is_none() {
        config.keepalives_retries(KEEPALIVE_RETRIES);
    }
}

/// A URL without what the client does not know.
#[derive(Default)]
struct Parts {
    url: Option<String>,
    sslmode: Option<SslMode>,
    ca: Option<String>,
}

impl Parts {
    fn of(url: &str) -> Result<Self, String> {
        if !url.starts_with("postgres://") && !url.starts_with("postgresql://") {
            return Err(BAD_URL.to_owned());
        }
        // User and password end at the first `@`, as the client has it.
        let address = url.find('@').unwrap_or(0);
        let Some(query) = url[address..].find('?').map(|at| address + at) else {
            return Ok(Self { url: Some(url.to_owned()), ..Self::default() });
        };
        let mut parts = Self::default();
        let mut others = Vec::new();
        for pair in url[query + 1..].split('&') {
            match pair.split_once('=') {
                Some(("sslmode", mode)) => parts.sslmode = Some(parse_mode(mode)?),
                Some(("sslrootcert", path)) => parts.ca = Some(decode(path)?.into_owned()),
                _ => others.push(pair),
            }
        }
        parts.url = Some(format!("{}?{}", &url[..query], others.join("&")));
        Ok(parts)
    }
}

fn parse_mode(mode: &str) -> Result<SslMode, String> {
    Ok(match mode {
        "disable" => SslMode::Disable,
        "prefer" => SslMode::Prefer,
        "require" => SslMode::Require,
        "verify-ca" => SslMode::VerifyCa,
        "verify-full" => SslMode::VerifyFull,
        _ => {
            return Err(
                "the url's sslmode must be disable, prefer, require, verify-ca or verify-full".to_owned()
            );
        }
    })
}

/// Undoes percent-encoding.
fn decode(text: &str) -> Result<Cow<'_, str>, String> {
    if !text.contains('%') {
        return Ok(Cow::Borrowed(text));
    }
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((first, behind)) = rest.split_first() {
        rest = behind;
        if *first != b'%' {
            bytes.push(*first);
            continue;
        }
        let (digits, behind) = rest.split_at_checked(2).ok_or(BAD_URL)?;
        let digits = std::str::from_utf8(digits).map_err(|_| BAD_URL)?;
        bytes.push(u8::from_str_radix(digits, 16).map_err(|_| BAD_URL)?);
        rest = behind;
    }
    String::from_utf8(bytes).map(Cow::Owned).map_err(|_| BAD_URL.to_owned())
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use tidegate_config::SecretSource;

    use super::*;

    fn settings() -> Postgres {
        Postgres {
            url: SecretSource::default(),
            host: "db".to_owned(),
            port: 6432,
            database: "events".to_owned(),
            user: "sink".to_owned(),
            password: SecretSource::default(),
            sslmode: SslMode::Prefer,
            ca: None,
            table: "processed_events".to_owned(),
            columns: Vec::new(),
        }
    }

    fn target(url: &str) -> Result<Target, String> {
        Target::of(&settings(), Some(url))
    }

    #[test]
    fn what_the_url_says_goes_before_the_other_keys() {
        let Target { config, .. } = target("postgres://me:pass@other/").unwrap();
        assert_eq!(config.get_hosts(), [Host::Tcp("other".to_owned())]);
        assert_eq!((config.get_ports(), config.get_user()), (&[5432][..], Some("me")));
        assert_eq!(config.get_dbname(), Some("events"));
        let Target { config, .. } = Target::of(&settings(), None).unwrap();
        assert_eq!((config.get_ports(), config.get_user()), (&[6432][..], Some("sink")));
    }

    #[test]
    fn every_sslmode_of_a_url_is_known_and_none_is_weaker_than_it_says() {
        for (query, verify) in [
            ("sslmode=require", Verify::Nothing),
            (
                "sslmode=require&sslrootcert=%2Fca%20.pem",
                Verify::Signature(Roots::File(Path::new("/ca .pem"))),
            ),
            ("connect_timeout=5&sslmode=verify-ca", Verify::Signature(Roots::System)),
            ("sslmode=verify-full&sslrootcert=system", Verify::Host(Roots::System)),
        ] {
            let target = target(&format!("postgres://u:p@h/d?{query}")).unwrap();
            assert_eq!(target.verify(), verify, "{query}");
            assert_eq!(target.config.get_ssl_mode(), ClientMode::Require, "{query}");
        }
        assert!(target("postgres://u:p@h/d?sslmode=allow").is_err());
        let socket = target("postgres://u@%2Frun%2Fpostgresql/d?sslmode=verify-full").unwrap();
        assert_eq!(socket.config.get_ssl_mode(), ClientMode::Disable);
    }

    #[test]
    fn what_is_wrong_with_a_url_is_said_without_showing_it() {
        for url in [
            "mysql://u:hunter2@h/d",
            "postgres://u:hunter2@h:port/d",
            "postgres://u:hunter2@h/d?hunter2=1",
            "postgres://u:p@s?hunter2@h/d",
            "postgres://u@h/d?sslrootcert=%zz",
        ] {
            let error = target(url).err().unwrap_or_default();
            assert!(!error.is_empty() && !error.contains("hunter2"), "{url}: {error}");
        }
    }
}
