//! Names of this server, of which requests have one in `Host`.

use std::net::IpAddr;

/// Names under which a server is reached.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Hosts {
    #[default]
    Any,
    /// Those of this machine for itself, and these, in lower case.
    Loopback(Vec<String>),
}

impl Hosts {
    #[must_use]
    pub fn allow(&self, host: &str) -> bool {
        let Self::Loopback(others) = self else { return true };
        let name = name(host).trim_end_matches('.').to_ascii_lowercase();
        let is_loopback = name.parse::<IpAddr>().is_ok_and(|ip| ip.to_canonical().is_loopback());
        is_loopback || name == "localhost" || name.ends_with(".localhost") || others.contains(&name)
    }
}

/// A host without its port.
pub fn name(host: &str) -> &str {
    let inside = host.strip_prefix('[').and_then(|rest| rest.split_once(']'));
    inside.map_or_else(|| host.rsplit_once(':').map_or(host, |(name, _)| name), |(name, _)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_compared_by_name() {
        let hosts = Hosts::Loopback(vec!["my.box".to_owned()]);
        let allowed = [
            "localhost",
            "LocalHost:8080",
            "localhost.",
            "app.localhost:1",
            "127.0.0.1:80",
            "127.8.9.1",
            "[::1]:8080",
            "[::ffff:127.0.0.1]",
            "my.box:8080",
            "MY.BOX",
        ];
        for host in allowed {
            assert!(hosts.allow(host), "{host}");
        }
        let refused = [
            "",
            ":80",
            "evil.example",
            "localhost.evil.example:8080",
            "127.0.0.1.evil.example",
            "10.0.0.1",
            "[::2]",
            "xmy.box",
            "evil@localhost",
            "2130706433",
        ];
        for host in refused {
            assert!(!hosts.allow(host), "{host}");
        }
        assert!(Hosts::Any.allow("evil.example"));
    }
}
