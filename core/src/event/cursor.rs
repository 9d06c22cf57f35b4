//! Stepping over JSON while validating it, without building anything.
//!
//! Nearly all of an event is stepped over, and that is most of what reading an event costs. The grammar is that
//! of RFC 8259; tests hold it against an independent parser.

/// The event is not JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Malformed {
    /// Position of the first byte that cannot stand where it stands.
    pub(super) at: usize,
    /// What could have stood there.
    pub(super) expected: &'static str,
}

/// The key of a member.
#[derive(Debug, Clone, Copy)]
pub(super) struct Key<'a> {
    /// As it stands in the event, with its quotes.
    pub(super) quoted: &'a [u8],
    /// Whether it has escapes.
    pub(super) has_escapes: bool,
}

/// A position in a text.
#[derive(Debug)]
pub(super) struct Cursor<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Cursor<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        Self { text, at: 0 }
    }

    /// The position, in bytes.
    pub(super) fn at(&self) -> usize {
        self.at
    }

    /// The text from `start` to here.
    pub(super) fn since(&self, start: usize) -> &'a str {
        &self.text[start..self.at]
    }

    /// The next byte.
    pub(super) fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    /// Steps over white space and returns the next byte.
    pub(super) fn peek_token(&mut self) -> Option<u8> {
        while let Some(b' ' | b'\n' | b'\r' | b'\t') = self.peek() {
            self.at += 1;
        }
        self.peek()
    }

    /// Steps over the byte that was peeked at.
    pub(super) fn step(&mut self) {
        self.at += 1;
    }

    pub(super) fn malformed<T>(&self, expected: &'static str) -> Result<T, Malformed> {
        Err(Malformed { at: self.at, expected })
    }

    /// Steps over white space and the end of the text.
    pub(super) fn end(&mut self) -> Result<(), Malformed> {
        if self.peek_token().is_some() { self.malformed("the end of the event") } else { Ok(()) }
    }

    /// Steps over a key and its colon, with the white space before each.
    #[inline]
    pub(super) fn key(&mut self) -> Result<Key<'a>, Malformed> {
        if self.peek_token() != Some(b'"') {
            return self.malformed("a key");
        }
        let start = self.at;
        let has_escapes = self.string()?;
        let quoted = &self.text.as_bytes()[start..self.at];
        if self.peek_token() != Some(b':') {
            return self.malformed("`:`");
        }
        self.step();
        Ok(Key { quoted, has_escapes })
    }

    /// Steps over a value of any kind and depth.
    #[inline]
    pub(super) fn value(&mut self) -> Result<(), Malformed> {
        match self.scalar_or_open()? {
            None => Ok(()),
            Some(container) => self.container(container),
        }
    }

    /// Steps over the rest of an array or object that is not empty.
    fn container(&mut self, outermost: Container) -> Result<(), Malformed> {
        let mut nesting = Nesting::default();
        self.enter(outermost, &mut nesting)?;
        loop {
            if let Some(container) = self.scalar_or_open()? {
                self.enter(container, &mut nesting)?;
                continue;
            }
            // A value has ended, and with it perhaps what it stands in.
            while let Some(container) = nesting.innermost() {
                match (self.peek_token(), container) {
                    (Some(b','), Container::Object) => {
                        self.step();
                        self.key()?;
                        break;
                    }
                    (Some(b','), Container::Array) => {
                        self.step();
                        break;
                    }
                    (Some(b'}'), Container::Object) | (Some(b']'), Container::Array) => {
                        self.step();
                        nesting.pop();
                    }
                    (_, Container::Object) => return self.malformed("`,` or `}`"),
                    (_, Container::Array) => return self.malformed("`,` or `]`"),
                }
            }
            if nesting.innermost().is_none() {
                return Ok(());
            }
        }
    }

    fn enter(&mut self, container: Container, nesting: &mut Nesting) -> Result<(), Malformed> {
        nesting.push(container);
        if container == Container::Object {
            self.key()?;
        }
        Ok(())
    }

    /// Steps over a scalar or an empty container, or into a container that is returned.
    fn scalar_or_open(&mut self) -> Result<Option<Container>, Malformed> {
        let (container, close) = match self.peek_token() {
            Some(b'"') => return self.string().map(|_| None),
            Some(b'-' | b'0'..=b'9') => return self.number().map(|()| None),
            Some(b't') => return self.literal("true"),
            Some(b'f') => return self.literal("false"),
            Some(b'n') => return self.literal("null"),
            Some(b'{') => (Container::Object, b'}'),
            Some(b'[') => (Container::Array, b']'),
            _ => return self.malformed("a value"),
        };
        self.step();
        if self.peek_token() == Some(close) {
            self.step();
            return Ok(None);
        }
        Ok(Some(container))
    }

    fn literal(&mut self, literal: &'static str) -> Result<Option<Container>, Malformed> {
        if !self.text.as_bytes()[self.at..].starts_with(literal.as_bytes()) {
            return self.malformed(literal);
        }
        self.at += literal.len();
        Ok(None)
    }

    fn number(&mut self) -> Result<(), Malformed> {
        if self.peek() == Some(b'-') {
            self.step();
        }
        // A leading zero stands alone.
        if self.peek() == Some(b'0') {
            self.step()
        } else {
            self.digits()?
        }
        if self.peek() == Some(b'.') {
            self.step();
            self.digits()?;
        }
        if let Some(b'e' | b'E') = self.peek() {
            self.step();
            if let Some(b'+' | b'-') = self.peek() {
                self.step();
            }
            self.digits()?;
        }
        Ok(())
    }

    fn digits(&mut self) -> Result<(), Malformed> {
        let start = self.at;
        while let Some(b'0'..=b'9') = self.peek() {
            self.step();
        }
        if self.at == start { self.malformed("a digit") } else { Ok(()) }
    }

    /// Steps over a string, whose opening quote is next. Returns whether it has escapes.
    #[inline]
    pub(super) fn string(&mut self) -> Result<bool, Malformed> {
        self.step();
        self.plain_characters();
        if self.peek() == Some(b'"') {
            self.step();
            return Ok(false);
        }
        self.escapes()
    }

    /// Steps over the rest of a string from its first backslash on.
    fn escapes(&mut self) -> Result<bool, Malformed> {
        loop {
            match self.peek() {
                Some(b'"') => {
                    self.step();
                    return Ok(true);
                }
                Some(b'\\') => {
                    self.step();
                    self.escape()?;
                }
                Some(_) => return self.malformed("no bare control character in a string"),
                None => return self.malformed("the end of the string"),
            }
            self.plain_characters();
        }
    }

    /// Steps to the next quote, backslash or control character, eight bytes at a time.
    #[inline]
    fn plain_characters(&mut self) {
        let mut rest = &self.text.as_bytes()[self.at..];
        while let Some((word, behind)) = rest.split_first_chunk() {
            let special = specials(u64::from_le_bytes(*word));
            if special != 0 {
                self.at = self.text.len() - rest.len() + special.trailing_zeros() as usize / 8;
                return;
            }
            rest = behind;
        }
        let plain = rest.iter().take_while(|byte| !matches!(byte, b'"' | b'\\' | 0..0x20)).count();
        self.at = self.text.len() - rest.len() + plain;
    }

    /// Steps over what follows a backslash. Any four hexadecimal digits will do: that surrogates come in pairs
    /// is no rule of JSON.
    fn escape(&mut self) -> Result<(), Malformed> {
        match self.peek() {
            Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => self.step(),
            Some(b'u') => {
                self.step();
                for _ in 0..4 {
                    if !self.peek().is_some_and(|digit| digit.is_ascii_hexdigit()) {
                        return self.malformed("a hexadecimal digit");
                    }
                    self.step();
                }
            }
            _ => return self.malformed("an escape that JSON has"),
        }
        Ok(())
    }
}

/// Sets the high bit of the lowest byte that is a quote, a backslash or a control character; those of higher bytes
/// may be wrong.
fn specials(word: u64) -> u64 {
    const ONES: u64 = u64::from_ne_bytes([0x01; 8]);
    const HIGHS: u64 = u64::from_ne_bytes([0x80; 8]);
    // Of a byte below 0x80, this sets the high bit if it is less than `n`.
    let less = |word: u64, n: u64| word.wrapping_sub(ONES * n);
    let equal = |byte: u8| less(word ^ (ONES * u64::from(byte)), 1);
    (less(word, 0x20) | equal(b'"') | equal(b'\\')) & !word & HIGHS
}

/// What values stand in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Container {
    Array,
    Object,
}

/// The containers that are open, one bit each: no recursion, so that no depth overflows the stack, and no
/// allocation up to a depth of 64.
#[derive(Debug, Default)]
struct Nesting {
    depth: usize,
    /// The innermost containers, the last one in the lowest bit; a set bit is an object.
    bits: u64,
    /// Full words of the outer ones.
    outer: Vec<u64>,
}

impl Nesting {
    fn push(&mut self, container: Container) {
        if self.depth > 0 && self.depth.is_multiple_of(64) {
            self.outer.push(self.bits);
        }
        self.depth += 1;
        self.bits = self.bits << 1 | u64::from(container == Container::Object);
    }

    fn pop(&mut self) {
        self.depth -= 1;
        self.bits >>= 1;
        if self.depth.is_multiple_of(64) {
            self.bits = self.outer.pop().unwrap_or_default();
        }
    }

    fn innermost(&self) -> Option<Container> {
        let innermost = if self.bits & 1 == 1 { Container::Object } else { Container::Array };
        (self.depth > 0).then_some(innermost)
    }
}
