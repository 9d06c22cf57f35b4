//! Where a key goes: partitions of topics, key groups of the state, window actors.

/// The 32-bit `MurmurHash2` that Kafka's Java client hashes record keys with (`Utils.murmur2`, its seed and
/// its signedness included), so that other clients find our records by key.
#[must_use]
pub fn murmur2(data: &[u8]) -> u32 {
    const SEED: u32 = 0x9747_b28c;
    const M: u32 = 0x5bd1_e995;

    let mut hash = SEED ^ data.len() as u32;
    let (words, tail) = data.as_chunks::<4>();
    for word in words {
        let mut k = u32::from_le_bytes(*word).wrapping_mul(M);
        k ^= k >> 24;
        hash = hash.wrapping_mul(M) ^ k.wrapping_mul(M);
    }
    if !tail.is_empty() {
        for (index, &byte) in tail.iter().enumerate() {
            hash ^= u32::from(byte) << (8 * index);
        }
        hash = hash.wrapping_mul(M);
    }
    hash ^= hash >> 13;
    hash = hash.wrapping_mul(M);
    hash ^ (hash >> 15)
}

/// The partition of `0..partitions` that the Java client's default partitioner gives a key.
#[must_use]
pub fn partition_for_key(key: &[u8], partitions: u32) -> u32 {
    (murmur2(key) & 0x7fff_ffff) % partitions.max(1)
}

/// The key group of a service: the partition of the state topic that holds its windows.
///
/// Never changes for a given number of groups: state that is on disk and in the topic was placed by it.
#[must_use]
pub fn key_group(service: &str, groups: u32) -> u32 {
    partition_for_key(service.as_bytes(), groups)
}

/// Which of `actors` window actors owns a key group.
#[must_use]
pub fn window_actor(key_group: u32, actors: usize) -> usize {
    key_group as usize % actors.max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_hash_as_in_the_java_client() {
        let known = [
            ("21", -973_932_308),
            ("foobar", -790_332_482),
            ("a-little-bit-long-string", -985_981_536),
            ("a-little-bit-longer-string", -1_486_304_829),
            ("lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58_897_971),
        ];
        for (key, hash) in known {
            assert_eq!(murmur2(key.as_bytes()).cast_signed(), hash, "{key}");
        }
        // toPositive clears the sign bit, it does not negate.
        assert_eq!(partition_for_key(b"foobar", 12), (-790_332_482_i32 & 0x7fff_ffff) as u32 % 12);
    }

    #[test]
    fn every_key_group_has_one_owner_whatever_the_numbers() {
        for groups in [1, 5, 12] {
            for actors in [1, 2, 7] {
                let group = key_group("checkout", groups);
                assert!(group < groups && window_actor(group, actors) < actors);
            }
        }
    }
}
