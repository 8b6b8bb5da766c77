//! The keys of a pool: one to encrypt with, all to decrypt with.
//!
//! Holds true: never empty, no key twice, the primary first.
//! Leaves to others: the file that holds it (`drive`), changing it across the cluster (`key_query`).
//! Source: `docs/reference/gossip.md` section 9.

use super::Error;
use super::codec::crypt::{Key, NONCE};

/// Most keys at a time; a rotation needs two.
pub const MAX_KEYS: usize = 64;

/// An ordered list of keys, the primary first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Keyring {
    keys: Vec<Key>,
}

impl Keyring {
    /// A keyring with this primary key.
    ///
    /// # Errors
    /// [`Error::KeySize`].
    pub fn new(primary: &[u8]) -> Result<Self, Error> {
        Ok(Self {
            keys: vec![Key::new(primary)?],
        })
    }

    /// A keyring as its file lists it, the primary first.
    ///
    /// # Errors
    /// [`Error::KeySize`]; an empty list.
    pub fn from_keys<K: AsRef<[u8]>>(keys: impl IntoIterator<Item = K>) -> Result<Self, Error> {
        let mut keys = keys.into_iter();
        let first = keys
            .next()
            .ok_or(Error::Keyring("Empty primary key not allowed"))?;
        let mut ring = Self::new(first.as_ref())?;
        keys.try_for_each(|key| ring.install(key.as_ref()))?;
        Ok(ring)
    }

    /// The key to encrypt with.
    pub fn primary(&self) -> &Key {
        &self.keys[0]
    }

    /// All keys, the primary first.
    pub fn keys(&self) -> impl Iterator<Item = &[u8]> {
        self.keys.iter().map(Key::bytes)
    }

    fn find(&self, key: &[u8]) -> Option<usize> {
        self.keys.iter().position(|k| k.bytes() == key)
    }

    /// Adds a key to decrypt with; nothing changes when it is there already.
    ///
    /// # Errors
    /// [`Error::KeySize`], too many keys.
    pub fn install(&mut self, key: &[u8]) -> Result<(), Error> {
        let new = Key::new(key)?;
        if self.find(key).is_some() {
            return Ok(());
        }
        if self.keys.len() >= MAX_KEYS {
            return Err(Error::Keyring("Too many keys are installed"));
        }
        self.keys.push(new);
        Ok(())
    }

    /// Makes an installed key the primary.
    ///
    /// # Errors
    /// When it is not installed.
    pub fn use_key(&mut self, key: &[u8]) -> Result<(), Error> {
        let at = self.find(key);
        let at = at.ok_or(Error::Keyring("Requested key is not in the keyring"))?;
        self.keys[..=at].rotate_right(1);
        Ok(())
    }

    /// Forgets a key; nothing changes when it is not there.
    ///
    /// # Errors
    /// When it is the primary.
    pub fn remove(&mut self, key: &[u8]) -> Result<(), Error> {
        match self.find(key) {
            Some(0) => Err(Error::Keyring("Removing the primary key is not allowed")),
            Some(at) => {
                self.keys.remove(at);
                Ok(())
            }
            None => Ok(()),
        }
    }

    /// Encrypts with the primary key.
    ///
    /// # Errors
    /// Those of [`Key::seal`].
    pub fn seal(&self, nonce: [u8; NONCE], plain: &[u8], aad: &[u8]) -> Result<Vec<u8>, Error> {
        self.primary().seal(nonce, plain, aad)
    }

    /// Decrypts with whichever key fits.
    ///
    /// # Errors
    /// [`Error::Decrypt`] when none does.
    pub fn open(&self, sealed: &[u8], aad: &[u8]) -> Result<Vec<u8>, Error> {
        let mut last = Error::Decrypt;
        for key in &self.keys {
            match key.open(sealed, aad) {
                Ok(plain) => return Ok(plain),
                Err(e) => last = e,
            }
        }
        Err(last)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rotation() {
        let (a, b) = ([1; 16], [2; 32]);
        let mut ring = Keyring::new(&a).unwrap();
        let old = ring.seal([0; NONCE], b"x", b"").unwrap();
        assert!(ring.use_key(&b).is_err());
        ring.install(&b).unwrap();
        ring.install(&b).unwrap();
        assert_eq!(ring.keys().collect::<Vec<_>>(), [&a[..], &b[..]]);
        ring.use_key(&b).unwrap();
        assert_eq!(ring.keys().collect::<Vec<_>>(), [&b[..], &a[..]]);
        assert_eq!(ring.open(&old, b""), Ok(b"x".to_vec()));
        assert!(ring.remove(&b).is_err());
        ring.remove(&a).unwrap();
        ring.remove(&a).unwrap();
        assert_eq!(ring.open(&old, b""), Err(Error::Decrypt));
        assert_eq!(Keyring::from_keys([&b[..]]).unwrap(), ring);
        assert!(Keyring::from_keys::<&[u8]>([]).is_err());
    }

    #[test]
    fn the_number_of_keys_is_bounded() {
        let mut ring = Keyring::new(&[0; 16]).unwrap();
        for n in 1..MAX_KEYS as u8 {
            ring.install(&[n; 16]).unwrap();
        }
        assert!(ring.install(&[255; 16]).is_err());
        ring.install(&[5; 16]).unwrap();
    }
}
