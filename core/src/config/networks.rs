//! Sets of networks: `"10.0.0.0/8"`, `"::1"`, `"unix"`.

use std::net::{IpAddr, Ipv4Addr};

use ipnet::{IpNet, Ipv4Net};

use super::checked::Networks;

impl Networks {
    /// Whether a peer belongs; None is a peer on a unix socket. An IPv4 address mapped into IPv6 counts as IPv4.
    pub fn contains(&self, peer: Option<IpAddr>) -> bool {
        match peer.map(|address| address.to_canonical()) {
            None => self.unix,
            Some(address) => self.nets.iter().any(|net| net.contains(&address)),
        }
    }

    /// Adds one as the file writes it: an address, an address with a prefix length, or `unix`.
    ///
    /// Errors: no network at all, or one with bits set behind its prefix (then with the network that was meant).
    pub(super) fn add(&mut self, text: &str) -> Result<(), NetworkError> {
        if text == "unix" {
            self.unix = true;
            return Ok(());
        }
        let net = match text.parse::<IpAddr>() {
            Ok(address) => IpNet::from(address.to_canonical()),
            Err(_) => text.parse::<IpNet>().map_err(|_| NetworkError::Malformed)?,
        };
        if net.trunc() != net {
            return Err(NetworkError::HostBits(net.trunc()));
        }
        self.nets.push(unmapped(net));
        Ok(())
    }
}

/// Why a text is no network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NetworkError {
    /// Not an address with or without a prefix length.
    Malformed,
    /// An address inside the network that it names: `10.0.0.1/8`.
    HostBits(IpNet),
}

/// `::ffff:10.0.0.0/104` is `10.0.0.0/8`, as peers are compared in their IPv4 form.
fn unmapped(net: IpNet) -> IpNet {
    let IpNet::V6(v6) = net else { return net };
    let Some(v4) = v6.network().to_ipv4_mapped() else { return net };
    let length = v6.prefix_len().checked_sub(96);
    let v4 = length.and_then(|length| Ipv4Net::new(Ipv4Addr::from(v4.octets()), length).ok());
    v4.map_or(net, IpNet::V4)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn networks(texts: &[&str]) -> Networks {
        let mut networks = Networks::default();
        texts.iter().for_each(|text| networks.add(text).unwrap());
        networks
    }

    fn contains(networks: &Networks, peer: &str) -> bool {
        networks.contains(Some(peer.parse().unwrap()))
    }

    #[test]
    fn a_mapped_address_counts_as_ipv4() {
        for written in ["10.0.0.0/8", "::ffff:10.0.0.0/104"] {
            let ten = networks(&[written]);
            assert!(contains(&ten, "10.1.2.3") && contains(&ten, "::ffff:10.1.2.3"), "{written}");
            assert!(!contains(&ten, "11.0.0.1") && !contains(&ten, "::1") && !ten.contains(None), "{written}");
        }
    }

    #[test]
    fn unix_peers_belong_only_when_named() {
        assert!(networks(&["unix"]).contains(None));
        assert!(!networks(&["unix"]).contains(Some(IpAddr::from([127, 0, 0, 1]))));
        assert!(!networks(&["0.0.0.0/0", "::/0"]).contains(None));
    }

    #[test]
    fn a_network_with_host_bits_names_the_one_that_was_meant() {
        let meant = "10.0.0.0/8".parse().unwrap();
        assert_eq!(Networks::default().add("10.0.0.1/8"), Err(NetworkError::HostBits(meant)));
        for wrong in ["", "10.0.0", "10.0.0.0/33", "Unix", "example.com", "010.0.0.1"] {
            assert_eq!(Networks::default().add(wrong), Err(NetworkError::Malformed), "{wrong:?}");
        }
    }
}
