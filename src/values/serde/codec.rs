//! From a value to the bytes of a message and back.

use postcard::ser_flavors::Flavor;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::error::{Cause, DecodeError, EncodeError};
use super::guard::{Budget, Guard};

/// A buffer larger than this is given back after its message was sent.
const KEPT_BUFFER: usize = 1 << 20;

/// The buffer of one sending end, used again for each value.
#[derive(Debug, Default)]
pub(super) struct Encoder(Vec<u8>);

impl Encoder {
    /// The bytes of `value`, in the buffer.
    pub(super) fn encode<T: Serialize>(&mut self, value: &T) -> Result<&[u8], EncodeError> {
        self.0.clear();
        // Here and not after the send, since the bytes are lent for that.
        self.0.shrink_to(KEPT_BUFFER);
        postcard::serialize_with_flavor(value, Appended(&mut self.0)).map_err(EncodeError)?;
        Ok(&self.0)
    }
}

/// A buffer at the end of which postcard writes; its own kind takes the buffer and loses it on an error.
struct Appended<'a>(&'a mut Vec<u8>);

impl Flavor for Appended<'_> {
    type Output = ();

    #[inline]
    fn try_extend(&mut self, data: &[u8]) -> postcard::Result<()> {
        self.0.extend_from_slice(data);
        Ok(())
    }

    #[inline]
    fn try_push(&mut self, data: u8) -> postcard::Result<()> {
        self.0.push(data);
        Ok(())
    }

    fn finalize(self) -> postcard::Result<()> {
        Ok(())
    }
}

/// The value that all of `message` encodes.
pub(super) fn decode<T: DeserializeOwned>(message: &[u8]) -> Result<T, DecodeError> {
    let failed = |cause| DecodeError {
        len: message.len(),
        cause,
    };
    let budget = Budget::of(message.len());
    let mut inner = postcard::Deserializer::from_bytes(message);
    let outcome = T::deserialize(Guard::new(&mut inner, &budget));
    if let Some(refusal) = budget.refusal() {
        return Err(failed(Cause::Refused(refusal)));
    }
    let value = outcome.map_err(|error| failed(Cause::Encoding(error)))?;
    match inner.finalize() {
        Ok([]) => Ok(value),
        Ok(rest) => Err(failed(Cause::Rest(rest.len()))),
        Err(error) => Err(failed(Cause::Encoding(error))),
    }
}
