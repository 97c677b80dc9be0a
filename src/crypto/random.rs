//! Random bytes, from the operating system alone: no generator of our own, so none to seed, fork or wipe.

/// The operating system gives no random bytes; nothing that needs a fresh key can go on.
#[derive(Debug, thiserror::Error)]
#[error("the operating system gives no random bytes: {0}")]
pub struct RandomError(getrandom::Error);

/// Fills `bytes` with random bytes.
///
/// # Errors
/// When the operating system gives none; `bytes` must then not be used.
pub fn fill(bytes: &mut [u8]) -> Result<(), RandomError> {
    getrandom::fill(bytes).map_err(RandomError)
}

/// An array of random bytes. Not for keys, which are built where they stay: [`Secret::random`](super::secret::Secret::random).
///
/// # Errors
/// When the operating system gives none.
pub fn array<const N: usize>() -> Result<[u8; N], RandomError> {
    let mut bytes = [0; N];
    fill(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arrays_differ() {
        assert_ne!(array::<32>().unwrap(), array::<32>().unwrap());
    }
}
