//! From the bytes of a message to a value.

use serde::de::DeserializeOwned;

use super::error::{Cause, DecodeError};
use super::guard::{Budget, Guard};

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
