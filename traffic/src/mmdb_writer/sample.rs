//! A geo database for the made-up visitors of sample traffic. Which network is in which city is made up too.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::{City, write_city_database};

/// Country, city, latitude, longitude.
const CITIES: [(&str, &str, f64, f64); 16] = [
    ("GB", "London", 51.5, -0.12),
    ("DE", "Berlin", 52.5, 13.4),
    ("FR", "Paris", 48.86, 2.35),
    ("ES", "Madrid", 40.4, -3.7),
    ("IT", "Rome", 41.9, 12.5),
    ("NL", "Amsterdam", 52.37, 4.9),
    ("SE", "Stockholm", 59.33, 18.07),
    ("PL", "Warsaw", 52.23, 21.01),
    ("US", "New York", 40.71, -74.01),
    ("US", "Chicago", 41.88, -87.63),
    ("CA", "Toronto", 43.65, -79.38),
    ("BR", "São Paulo", -23.55, -46.63),
    ("IN", "Mumbai", 19.08, 72.88),
    ("JP", "Tokyo", 35.68, 139.69),
    ("AU", "Sydney", -33.87, 151.21),
    ("ZA", "Cape Town", -33.92, 18.42),
];

/// A database of the networks that the visitors of `tidegate generate` and `tidegate demo` come from, each in one
/// of some cities; built at `build_time_s` seconds since the Unix epoch.
#[must_use]
pub fn sample_city_database(build_time_s: u64) -> Vec<u8> {
    let ipv4 = (20..80u8).flat_map(|first| (0..4u8).map(move |quarter| (first, quarter << 6)));
    let ipv4 = ipv4.map(|(first, second)| (IpAddr::V4(Ipv4Addr::new(first, second, 0, 0)), 10));
    let ipv6 = (0..16u16).map(|n| (IpAddr::V6(Ipv6Addr::new(0x2001, 0x218, n << 12, 0, 0, 0, 0, 0)), 36));
    let cities: Vec<City> = ipv4
        .chain(ipv6)
        .enumerate()
        .map(|(index, (network, prefix_len))| {
            // 7 and 16 have no common factor, so that neighbours differ and all cities come.
            let (country, city, lat, lon) = CITIES[index * 7 % CITIES.len()];
            City {
                network,
                prefix_len,
                country: Some(country.to_owned()),
                city: Some(city.to_owned()),
                lat: Some(lat),
                lon: Some(lon),
            }
        })
        .collect();
    write_city_database(build_time_s, &cities)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use tidegate_core::geo::GeoDatabase;

    #[test]
    fn the_database_is_one_that_the_daemon_takes() {
        let database = GeoDatabase::from_bytes(sample_city_database(1_760_000_000)).unwrap();
        assert_eq!(database.build_time(), Some(1_760_000_000));
    }
}
