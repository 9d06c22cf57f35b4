//! A small writer of MaxMind DB files, for tests and demonstrations.
//!
//! The format is that of the public MaxMind DB specification 2.0: a binary tree over the bits of the address,
//! 16 zero bytes, the records, and the metadata behind a marker.

mod sample;

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv6Addr},
};

pub use sample::sample_city_database;

/// What a database is to say of one network; what is `None` is left out.
#[derive(Debug, Clone, PartialEq)]
pub struct City {
    /// An address of the network.
    pub network: IpAddr,
    /// Leading bits of `network` that make the network: 0 to 32 for IPv4, to 128 for IPv6.
    pub prefix_len: u8,
    /// ISO 3166-1 alpha-2 code of the country.
    pub country: Option<String>,
    /// English name of the city.
    pub city: Option<String>,
    /// Latitude in degrees.
    pub lat: Option<f64>,
    /// Longitude in degrees.
    pub lon: Option<f64>,
}

/// Writes a City database of `cities`, built at `build_time_s` seconds since the Unix epoch.
///
/// IPv4 networks lie under `::/96`. Where networks contain each other the smaller one counts; of two entries
/// for the same network the last one. Everything has to fit 4 GiB.
#[must_use]
pub fn write_city_database(build_time_s: u64, cities: &[City]) -> Vec<u8> {
    let records: Vec<_> =
        cities.iter().map(|city| (city.network, city.prefix_len, encode_city(city))).collect();
    let metadata = [
        ("build_epoch", unsigned(9, build_time_s)),
        description(),
        database_type("Tidegate-City"),
        languages(),
    ];
    write_database(&metadata, &records)
}

/// Writes a database as other makers do: of a type of its own, with records of any members, and with nothing in its
/// metadata that can be left out, not even when it was built. Networks as for [`write_city_database`].
#[must_use]
pub fn write_bare_database(kind: &str, records: &[(IpAddr, u8, Value)]) -> Vec<u8> {
    let records: Vec<_> = records.iter().map(|(ip, len, value)| (*ip, *len, value.encode())).collect();
    write_database(&[database_type(kind)], &records)
}

/// A value of a record of [`write_bare_database`].
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// A string.
    Text(String),
    /// A double.
    Double(f64),
    /// A single, which some makers have for degrees.
    Single(f32),
    /// An unsigned number of up to 32 bits.
    Unsigned(u32),
    /// A map.
    Map(Vec<(&'static str, Value)>),
}

impl Value {
    fn encode(&self) -> Vec<u8> {
        match self {
            Self::Text(text) => string(text),
            Self::Double(number) => double(*number),
            Self::Single(number) => [&control(15, 4)[..], &number.to_be_bytes()].concat(),
            Self::Unsigned(number) => unsigned(6, u64::from(*number)),
            Self::Map(members) => {
                let members: Vec<_> = members.iter().map(|(key, value)| (*key, value.encode())).collect();
                map(&members)
            }
        }
    }
}

/// A network, its length and its encoded record.
type Entry = (IpAddr, u8, Vec<u8>);

fn write_database(metadata: &[(&str, Vec<u8>)], entries: &[Entry]) -> Vec<u8> {
    let mut tree = Tree::default();
    let mut records = Records::default();
    let mut entries: Vec<&Entry> = entries.iter().collect();
    // The smaller networks are cut out of the larger ones; the sort keeps the order of equal ones.
    entries.sort_by_key(|(network, prefix_len, _)| depth(*network, *prefix_len));
    for (network, prefix_len, record) in entries {
        let child = Child::Record(records.offset_of(record));
        tree.insert(address_bits(*network), depth(*network, *prefix_len), child);
    }
    let mut out = tree.encode();
    out.extend_from_slice(&[0; SEPARATOR_BYTES as usize]);
    out.extend_from_slice(&records.bytes);
    out.extend_from_slice(b"\xab\xcd\xefMaxMind.com");
    let layout = [
        ("binary_format_major_version", unsigned(5, 2)),
        ("binary_format_minor_version", unsigned(5, 0)),
        ("ip_version", unsigned(5, 6)),
        ("node_count", unsigned(6, tree.nodes.len() as u64)),
        ("record_size", unsigned(5, RECORD_BITS)),
    ];
    out.extend_from_slice(&map(&[metadata, &layout].concat()));
    out
}

const SEPARATOR_BYTES: u32 = 16;
const IPV4_DEPTH: u8 = 96;
const RECORD_BITS: u64 = 32;

/// Bits of the tree's path to the network.
fn depth(network: IpAddr, prefix_len: u8) -> u8 {
    match network {
        IpAddr::V4(_) => IPV4_DEPTH + prefix_len.min(32),
        IpAddr::V6(_) => prefix_len.min(128),
    }
}

/// The address in the tree: IPv4 lies under `::/96`.
fn address_bits(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(v4) => u128::from(v4.to_bits()),
        IpAddr::V6(v6) => Ipv6Addr::to_bits(v6),
    }
}

/// Where a bit of an address leads.
#[derive(Debug, Clone, Copy)]
enum Child {
    Nothing,
    Node(u32),
    Record(u32),
}

#[derive(Debug)]
struct Tree {
    nodes: Vec<[Child; 2]>,
}

impl Default for Tree {
    fn default() -> Self {
        Self { nodes: vec![[Child::Nothing; 2]] }
    }
}

impl Tree {
    fn insert(&mut self, bits: u128, depth: u8, child: Child) {
        let bit = |at: u8| usize::from(bits >> (127 - at) & 1 == 1);
        let Some(last) = depth.checked_sub(1) else {
            self.nodes[0] = [child; 2];
            return;
        };
        let mut node = 0;
        for at in 0..last {
            node = match self.nodes[node][bit(at)] {
                Child::Node(next) => next as usize,
                larger_network => {
                    self.nodes.push([larger_network; 2]);
                    let next = self.nodes.len() - 1;
                    self.nodes[node][bit(at)] = Child::Node(next as u32);
                    next
                }
            };
        }
        self.nodes[node][bit(last)] = child;
    }

    fn encode(&self) -> Vec<u8> {
        let node_count = self.nodes.len() as u32;
        let encode = |child: &Child| match child {
            Child::Nothing => node_count,
            Child::Node(node) => *node,
            Child::Record(offset) => node_count + SEPARATOR_BYTES + offset,
        };
        self.nodes.iter().flatten().flat_map(|child| encode(child).to_be_bytes()).collect()
    }
}

/// The data section; equal records are stored once.
#[derive(Debug, Default)]
struct Records {
    bytes: Vec<u8>,
    offsets: HashMap<Vec<u8>, u32>,
}

impl Records {
    fn offset_of(&mut self, record: &[u8]) -> u32 {
        let end = self.bytes.len() as u32;
        let bytes = &mut self.bytes;
        *self.offsets.entry(record.to_vec()).or_insert_with_key(|record| {
            bytes.extend_from_slice(record);
            end
        })
    }
}

fn encode_city(city: &City) -> Vec<u8> {
    let mut members: Vec<(&str, Vec<u8>)> = Vec::new();
    if let Some(name) = &city.city {
        members.push(("city", map(&[("names", map(&[("en", string(name))]))])));
    }
    if let Some(code) = &city.country {
        members.push(("country", map(&[("iso_code", string(code))])));
    }
    let degrees = [("latitude", city.lat), ("longitude", city.lon)];
    let location: Vec<_> = degrees.into_iter().filter_map(|(name, v)| Some((name, double(v?)))).collect();
    if !location.is_empty() {
        members.push(("location", map(&location)));
    }
    map(&members)
}

fn database_type(kind: &str) -> (&'static str, Vec<u8>) {
    ("database_type", string(kind))
}

fn description() -> (&'static str, Vec<u8>) {
    ("description", map(&[("en", string("City database written by Tidegate"))]))
}

fn languages() -> (&'static str, Vec<u8>) {
    ("languages", [control(11, 1), string("en")].concat())
}

/// The bytes that announce a value of a type and a size, as of the specification's data section format.
fn control(kind: u8, size: usize) -> Vec<u8> {
    let (size_bits, more): (u8, Vec<u8>) = match size {
        0..29 => (size as u8, vec![]),
        29..285 => (29, vec![(size - 29) as u8]),
        285..65_821 => (30, ((size - 285) as u16).to_be_bytes().to_vec()),
        _ => (31, ((size - 65_821) as u32).to_be_bytes()[1..].to_vec()),
    };
    // Types above 7 have a byte of their own.
    let mut out = if kind > 7 { vec![size_bits, kind - 7] } else { vec![kind << 5 | size_bits] };
    out.extend(more);
    out
}

fn string(text: &str) -> Vec<u8> {
    [&control(2, text.len()), text.as_bytes()].concat()
}

fn double(value: f64) -> Vec<u8> {
    [&control(3, 8)[..], &value.to_be_bytes()].concat()
}

/// An unsigned integer without leading zero bytes; `kind` says its width.
fn unsigned(kind: u8, value: u64) -> Vec<u8> {
    let digits = &value.to_be_bytes()[value.leading_zeros() as usize / 8..];
    [&control(kind, digits.len()), digits].concat()
}

fn map(members: &[(&str, Vec<u8>)]) -> Vec<u8> {
    let mut out = control(7, members.len());
    for (key, value) in members {
        out.extend(string(key));
        out.extend_from_slice(value);
    }
    out
}
