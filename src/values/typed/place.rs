//! Room on the stack for the bytes of one value.

use std::mem::MaybeUninit;

/// Memory of the size of a `T`, for its bytes before it is known whether they are one.
pub(super) struct Place<T>(MaybeUninit<T>);

impl<T> Place<T> {
    #[inline]
    pub(super) const fn new() -> Self {
        Self(MaybeUninit::uninit())
    }

    /// All of its bytes, zero.
    #[inline]
    pub(super) fn zeroed(&mut self) -> &mut [u8] {
        let start = self.0.as_mut_ptr().cast::<u8>();
        // SAFETY: the memory is `size_of::<T>()` bytes long and ours, and `MaybeUninit` takes any bytes.
        unsafe { start.write_bytes(0, size_of::<T>()) };
        // SAFETY: all of those bytes have just been written, padding included, and stay where they are;
        // `self` is lent for as long as the slice, so nobody else touches them.
        unsafe { std::slice::from_raw_parts_mut(start, size_of::<T>()) }
    }
}
