//! How one event is written.

use super::{catalog, random::Random};

/// Somebody who causes events; all about them follows from their number, so that they stay themselves.
#[derive(Debug)]
pub(super) struct Visitor {
    name: &'static str,
    number: u64,
    user_agent: &'static str,
    traits: Random,
}

impl Visitor {
    pub(super) fn person(number: u64) -> Self {
        let mut traits = Random::new(number);
        Self { name: "user-", number, user_agent: traits.pick(&catalog::BROWSERS), traits }
    }

    pub(super) fn bot(number: u64) -> Self {
        let mut traits = Random::new(!number);
        Self { name: "guest-", number, user_agent: traits.pick(&catalog::BOTS), traits }
    }

    /// Appends the user id.
    pub(super) fn append_id(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.name.as_bytes());
        append_number(out, self.number);
    }

    /// Appends the visitor's address: mostly public IPv4, one in six IPv6, some from networks that no database
    /// knows.
    fn append_address(&self, out: &mut Vec<u8>) {
        let mut traits = self.traits.clone();
        let bits = traits.next();
        let [.., a, b, c] = bits.to_be_bytes();
        match traits.below(100) {
            0..58 => append_ipv4(out, [20 + a % 60, b, c, bits.to_be_bytes()[0]]),
            58..72 => append_host(out, traits.pick(&catalog::KNOWN_NETWORKS), a),
            72..85 => append_ipv6(out, 0x2001_0218, bits),
            85..88 => append_ipv6(out, 0x2001_0db8, bits),
            88..93 => append_host(out, traits.pick(&catalog::DOCUMENTATION_NETWORKS), a),
            93..97 => append_ipv4(out, [10, a, b, c]),
            _ => append_ipv4(out, [192, 168, a, b]),
        }
    }
}

/// Writes JSON into a buffer.
pub(super) struct Json<'a>(pub(super) &'a mut Vec<u8>);

impl Json<'_> {
    /// One whole event. A few lack a field, as in real life.
    pub(super) fn event(
        &mut self,
        random: &mut Random,
        visitor: &Visitor,
        service: &str,
        event_type: &str,
        timestamp_ms: i64,
    ) {
        self.text("{\"user_id\":\"");
        visitor.append_id(self.0);
        self.text("\",\"event_type\":\"").text(event_type);
        self.text("\"");
        if !random.chance(5) {
            self.text(",\"timestamp\":").number(timestamp_ms as u64);
        }
        let on_top = random.chance(15);
        if on_top {
            self.text(",\"service_name\":\"").text(service).text("\"");
        }
        self.text(",\"payload\":{\"session\":\"").hex(random.next()).text("\"");
        if !on_top && !random.chance(5) {
            self.text(",\"service_name\":\"").text(service).text("\"");
        }
        self.origin(random, visitor);
        self.details(random, event_type);
        self.text("}}");
    }

    fn origin(&mut self, random: &mut Random, visitor: &Visitor) {
        match random.below(1000) {
            0..8 => {}
            8..12 => _ = self.text(",\"ip\":null"),
            _ => {
                self.text(",\"ip\":\"");
                visitor.append_address(self.0);
                self.text("\"");
            }
        }
        if !random.chance(8) {
            self.text(",\"user_agent\":\"").text(visitor.user_agent).text("\"");
        }
    }

    fn details(&mut self, random: &mut Random, event_type: &str) {
        let page = random.pick(&catalog::PAGES);
        self.text(",\"page\":{\"path\":\"").text(page).number(random.below(20_000));
        match event_type {
            "error" => {
                let code = random.pick(&catalog::ERROR_CODES);
                self.text("\",\"status\":500},\"error\":{\"code\":\"").text(code);
                self.text("\",\"retries\":").number(random.below(4)).text("}");
            }
            "purchase" => {
                self.text("\"},\"order\":{\"items\":").number(1 + random.below(6));
                self.text(",\"total\":")
                    .number(3 + random.below(300))
                    .text(".")
                    .number(10 + random.below(90));
                self.text(",\"currency\":\"").text(random.pick(&catalog::CURRENCIES)).text("\"}");
            }
            _ => {
                self.text("\",\"status\":200},\"ms\":").number(8 + random.below(400));
            }
        }
    }

    fn text(&mut self, text: &str) -> &mut Self {
        self.0.extend_from_slice(text.as_bytes());
        self
    }

    fn number(&mut self, number: u64) -> &mut Self {
        append_number(self.0, number);
        self
    }

    fn hex(&mut self, number: u64) -> &mut Self {
        append_hex(self.0, number, 16);
        self
    }
}

/// Decimal digits; the formatting machinery of the standard library would take half of the time per event.
fn append_number(out: &mut Vec<u8>, mut number: u64) {
    let mut digits = [b'0'; 20];
    let mut at = digits.len();
    loop {
        at -= 1;
        digits[at] = b'0' + (number % 10) as u8;
        number /= 10;
        if number == 0 {
            break out.extend_from_slice(&digits[at..]);
        }
    }
}

fn append_hex(out: &mut Vec<u8>, number: u64, digits: u32) {
    for digit in (0..digits).rev() {
        out.push(b"0123456789abcdef"[(number >> (4 * digit)) as usize & 15]);
    }
}

fn append_host(out: &mut Vec<u8>, [a, b, c]: [u8; 3], host: u8) {
    append_ipv4(out, [a, b, c, host]);
}

fn append_ipv4(out: &mut Vec<u8>, address: [u8; 4]) {
    for (index, byte) in address.into_iter().enumerate() {
        if index > 0 {
            out.push(b'.');
        }
        append_number(out, u64::from(byte));
    }
}

/// `prefix` is the first 32 bits, `host` gives three more groups; the rest is zero.
fn append_ipv6(out: &mut Vec<u8>, prefix: u64, host: u64) {
    for group in [prefix >> 16, prefix, host >> 32, host >> 16] {
        append_hex(out, group & 0xffff, 4);
        out.push(b':');
    }
    out.push(b':');
    append_hex(out, host & 0xffff, 4);
}
