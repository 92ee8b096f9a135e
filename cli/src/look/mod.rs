//! What `ls`, `stat` and `top` share: rates between two looks, the verdict, and names that are safe to print.

pub(crate) mod json;
pub(crate) mod names;
pub(crate) mod rates;
pub(crate) mod steering;
pub(crate) mod units;
