//! Signed requests, by the scheme of Standard Webhooks (standardwebhooks.com).

use base64::{
    Engine as _,
    alphabet::STANDARD,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

/// What a secret that is given as base64 begins with.
const ENCODED: &str = "whsec_";
/// Secrets are copied by hand, and lose their padding.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// The value of `webhook-signature` for a body that is sent under an id at a time.
///
/// # Errors
/// In words, if the secret is no secret.
pub(super) fn signature(secret: &str, id: &str, timestamp_s: i64, body: &[u8]) -> Result<String, String> {
    let key = match secret.strip_prefix(ENCODED) {
        Some(encoded) => {
            BASE64.decode(encoded).map_err(|_| "what follows `whsec_` in `secret` is not base64")?
        }
        None => secret.as_bytes().to_vec(),
    };
    let mut mac = Hmac::<Sha256>::new_from_slice(&key).map_err(|error| format!("`secret`: {error}"))?;
    mac.update(format!("{id}.{timestamp_s}.").as_bytes());
    mac.update(body);
    Ok(format!("v1,{}", BASE64.encode(mac.finalize().into_bytes())))
}

/// An id as a header can carry it: what is not printable ASCII is percent-encoded.
pub(super) fn header_id(id: &str) -> String {
    id.bytes().fold(String::with_capacity(id.len()), |mut header, byte| {
        match byte {
            b' '..=b'~' => header.push(char::from(byte)),
            _ => header.push_str(&format!("%{byte:02X}")),
        }
        header
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "high-error-rate/checkout/1760000040000/crossed";

    /// Expected values: `printf '%s.1760000041.{"a":1}' ID | openssl dgst -sha256 -mac HMAC -macopt hexkey:... -binary | base64`.
    #[test]
    fn a_request_is_signed_with_the_key_in_its_secret() {
        let signed = |secret| signature(secret, ID, 1_760_000_041, b"{\"a\":1}");
        assert_eq!(
            signed("whsec_AAECAwQFBgcICQoLDA0ODw=="),
            Ok("v1,48yt0/1kVqMK60v/BqZsz6jdil8EONQYZ52hRdn+1CA=".into())
        );
        assert_eq!(signed("whsec_AAECAwQFBgcICQoLDA0ODw"), signed("whsec_AAECAwQFBgcICQoLDA0ODw=="));
        assert_eq!(signed("any text"), Ok("v1,GX+kPz4M0ZiSeL+l3vcJ/fBvKgJIRZ/UBJUTnUo4IHs=".into()));
        assert!(signed("whsec_not base64").is_err());
    }

    #[test]
    fn an_id_can_be_sent_in_a_header_whatever_the_service_is_called() {
        assert_eq!(header_id(ID), ID);
        assert_eq!(header_id("r/дом\n1 %/0"), "r/%D0%B4%D0%BE%D0%BC%0A1 %/0");
    }
}
