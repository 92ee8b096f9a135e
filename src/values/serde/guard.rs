//! A deserializer around another one that bounds what bytes can ask for.
//!
//! Postcard follows a recursive type for as long as there are bytes, each of which may be a level of the stack,
//! and a sequence for as many elements as it claims, which need not take any bytes. Both are counted here. What
//! the values themselves are is not looked at, so this goes with any deserializer.

use std::cell::Cell;
use std::fmt;

use serde::de::{
    DeserializeSeed, Deserializer, EnumAccess, Error, MapAccess, SeqAccess, VariantAccess, Visitor,
};

/// Levels that a value may nest, as serde_json has it.
pub(super) const MAX_DEPTH: usize = 128;

/// Elements that may come beyond one for each byte of the message.
const WITHOUT_BYTES: usize = 1 << 16;

/// What a message asked for and was not given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// More levels than [`MAX_DEPTH`].
    Depth,
    /// More elements than this.
    Elements { max: usize },
}

/// What one message may still ask for.
pub(super) struct Budget {
    /// Levels left.
    depth: Cell<usize>,
    /// Elements left.
    elements: Cell<usize>,
    max_elements: usize,
    refusal: Cell<Option<Refusal>>,
}

impl Budget {
    /// For a message of so many bytes.
    pub(super) fn of(len: usize) -> Self {
        let max_elements = len.saturating_add(WITHOUT_BYTES);
        Self {
            depth: Cell::new(MAX_DEPTH),
            elements: Cell::new(max_elements),
            max_elements,
            refusal: Cell::new(None),
        }
    }

    /// What was refused, if anything: the message is then to be refused as a whole, even by a type that has
    /// put up with the error.
    pub(super) fn refusal(&self) -> Option<Refusal> {
        self.refusal.get()
    }

    fn refuse<E: Error>(&self, refusal: Refusal) -> E {
        self.refusal.set(Some(refusal));
        E::custom("more than a message may ask for")
    }

    /// Runs `visit` one level deeper.
    #[inline]
    fn deeper<V, E: Error>(&self, visit: impl FnOnce() -> Result<V, E>) -> Result<V, E> {
        let left = self.depth.get();
        if left == 0 {
            return Err(self.refuse(Refusal::Depth));
        }
        self.depth.set(left - 1);
        let outcome = visit();
        self.depth.set(left);
        outcome
    }

    /// Counts one element of a sequence or map.
    #[inline]
    fn element<E: Error>(&self) -> Result<(), E> {
        let left = self.elements.get();
        if left == 0 {
            let max = self.max_elements;
            return Err(self.refuse(Refusal::Elements { max }));
        }
        self.elements.set(left - 1);
        Ok(())
    }
}

/// Any part of a deserializer, under a budget.
pub(super) struct Guard<'b, X> {
    inner: X,
    budget: &'b Budget,
}

impl<'b, X> Guard<'b, X> {
    pub(super) fn new(inner: X, budget: &'b Budget) -> Self {
        Self { inner, budget }
    }
}

/// Methods for values without parts, handed on as they are.
macro_rules! plain {
    ($($name:ident)+) => {
        $(
            #[inline]
            fn $name<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, D::Error> {
                self.inner.$name(visitor)
            }
        )+
    };
}

/// Methods for values with parts, which are visited one level deeper and under the same budget.
macro_rules! nested {
    ($($name:ident($($argument:ident: $type:ty),*))+) => {
        $(
            #[inline]
            fn $name<V: Visitor<'de>>(
                self,
                $($argument: $type,)*
                visitor: V,
            ) -> Result<V::Value, D::Error> {
                let Self { inner, budget } = self;
                let visitor = Guard::new(visitor, budget);
                budget.deeper(|| inner.$name($($argument,)* visitor))
            }
        )+
    };
}

impl<'de, D: Deserializer<'de>> Deserializer<'de> for Guard<'_, D> {
    type Error = D::Error;

    plain! {
        deserialize_bool deserialize_i8 deserialize_i16 deserialize_i32 deserialize_i64 deserialize_i128
        deserialize_u8 deserialize_u16 deserialize_u32 deserialize_u64 deserialize_u128 deserialize_f32
        deserialize_f64 deserialize_char deserialize_str deserialize_string deserialize_bytes
        deserialize_byte_buf deserialize_unit deserialize_identifier
    }

    nested! {
        deserialize_any()
        deserialize_option()
        deserialize_seq()
        deserialize_map()
        deserialize_ignored_any()
        deserialize_unit_struct(name: &'static str)
        deserialize_newtype_struct(name: &'static str)
        deserialize_tuple(len: usize)
        deserialize_tuple_struct(name: &'static str, len: usize)
        deserialize_struct(name: &'static str, fields: &'static [&'static str])
        deserialize_enum(name: &'static str, variants: &'static [&'static str])
    }

    fn is_human_readable(&self) -> bool {
        self.inner.is_human_readable()
    }
}

/// Methods that take no part of the message any more.
macro_rules! visited {
    ($($name:ident($type:ty))+) => {
        $(
            #[inline]
            fn $name<E: Error>(self, value: $type) -> Result<V::Value, E> {
                self.inner.$name(value)
            }
        )+
    };
}

impl<'de, V: Visitor<'de>> Visitor<'de> for Guard<'_, V> {
    type Value = V::Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.expecting(f)
    }

    visited! {
        visit_bool(bool) visit_i8(i8) visit_i16(i16) visit_i32(i32) visit_i64(i64) visit_i128(i128)
        visit_u8(u8) visit_u16(u16) visit_u32(u32) visit_u64(u64) visit_u128(u128) visit_f32(f32)
        visit_f64(f64) visit_char(char) visit_str(&str) visit_borrowed_str(&'de str)
        visit_string(String) visit_bytes(&[u8]) visit_borrowed_bytes(&'de [u8]) visit_byte_buf(Vec<u8>)
    }

    #[inline]
    fn visit_none<E: Error>(self) -> Result<V::Value, E> {
        self.inner.visit_none()
    }

    #[inline]
    fn visit_unit<E: Error>(self) -> Result<V::Value, E> {
        self.inner.visit_unit()
    }

    #[inline]
    fn visit_some<D: Deserializer<'de>>(self, inner: D) -> Result<V::Value, D::Error> {
        self.inner.visit_some(Guard::new(inner, self.budget))
    }

    #[inline]
    fn visit_newtype_struct<D: Deserializer<'de>>(self, inner: D) -> Result<V::Value, D::Error> {
        self.inner
            .visit_newtype_struct(Guard::new(inner, self.budget))
    }

    #[inline]
    fn visit_seq<A: SeqAccess<'de>>(self, inner: A) -> Result<V::Value, A::Error> {
        self.inner.visit_seq(Guard::new(inner, self.budget))
    }

    #[inline]
    fn visit_map<A: MapAccess<'de>>(self, inner: A) -> Result<V::Value, A::Error> {
        self.inner.visit_map(Guard::new(inner, self.budget))
    }

    #[inline]
    fn visit_enum<A: EnumAccess<'de>>(self, inner: A) -> Result<V::Value, A::Error> {
        self.inner.visit_enum(Guard::new(inner, self.budget))
    }
}

impl<'de, S: DeserializeSeed<'de>> DeserializeSeed<'de> for Guard<'_, S> {
    type Value = S::Value;

    #[inline]
    fn deserialize<D: Deserializer<'de>>(self, inner: D) -> Result<S::Value, D::Error> {
        self.inner.deserialize(Guard::new(inner, self.budget))
    }
}

impl<'de, A: SeqAccess<'de>> SeqAccess<'de> for Guard<'_, A> {
    type Error = A::Error;

    #[inline]
    fn next_element_seed<S: DeserializeSeed<'de>>(
        &mut self,
        seed: S,
    ) -> Result<Option<S::Value>, A::Error> {
        // Counted when it is there, so that as many as may come do.
        let element = self
            .inner
            .next_element_seed(Guard::new(seed, self.budget))?;
        if element.is_some() {
            self.budget.element()?;
        }
        Ok(element)
    }

    fn size_hint(&self) -> Option<usize> {
        let hint = self.inner.size_hint()?;
        Some(hint.min(self.budget.elements.get()))
    }
}

impl<'de, A: MapAccess<'de>> MapAccess<'de> for Guard<'_, A> {
    type Error = A::Error;

    #[inline]
    fn next_key_seed<S: DeserializeSeed<'de>>(
        &mut self,
        seed: S,
    ) -> Result<Option<S::Value>, A::Error> {
        let key = self.inner.next_key_seed(Guard::new(seed, self.budget))?;
        if key.is_some() {
            self.budget.element()?;
        }
        Ok(key)
    }

    #[inline]
    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, A::Error> {
        self.inner.next_value_seed(Guard::new(seed, self.budget))
    }

    fn size_hint(&self) -> Option<usize> {
        let hint = self.inner.size_hint()?;
        Some(hint.min(self.budget.elements.get()))
    }
}

impl<'de, 'b, A: EnumAccess<'de>> EnumAccess<'de> for Guard<'b, A> {
    type Error = A::Error;
    type Variant = Guard<'b, A::Variant>;

    #[inline]
    fn variant_seed<S: DeserializeSeed<'de>>(
        self,
        seed: S,
    ) -> Result<(S::Value, Self::Variant), A::Error> {
        let Self { inner, budget } = self;
        let (value, variant) = inner.variant_seed(Guard::new(seed, budget))?;
        Ok((value, Guard::new(variant, budget)))
    }
}

impl<'de, A: VariantAccess<'de>> VariantAccess<'de> for Guard<'_, A> {
    type Error = A::Error;

    #[inline]
    fn unit_variant(self) -> Result<(), A::Error> {
        self.inner.unit_variant()
    }

    #[inline]
    fn newtype_variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<S::Value, A::Error> {
        let Self { inner, budget } = self;
        inner.newtype_variant_seed(Guard::new(seed, budget))
    }

    #[inline]
    fn tuple_variant<V: Visitor<'de>>(self, len: usize, visitor: V) -> Result<V::Value, A::Error> {
        let Self { inner, budget } = self;
        inner.tuple_variant(len, Guard::new(visitor, budget))
    }

    #[inline]
    fn struct_variant<V: Visitor<'de>>(
        self,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, A::Error> {
        let Self { inner, budget } = self;
        inner.struct_variant(fields, Guard::new(visitor, budget))
    }
}
