//! Types without types inside: scalars, enumerations and flags.
#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "docs that do not match are ignored; what is no scalar is looked at elsewhere"
)]

use wasmtime::component::types::Type;
use wit_parser::TypeDefKind;

use super::Builder;
use crate::interface::docs::text_of;
use crate::interface::ty::{Case, Int, TyKind, snake};

impl<P: Copy> Builder<'_, P> {
    pub(super) fn enumeration<'t>(
        &mut self,
        names: impl Iterator<Item = &'t str>,
        wit: Option<&TypeDefKind>,
    ) -> Result<Vec<Case>, String> {
        let wit_cases = match wit {
            Some(TypeDefKind::Enum(cases)) => cases.cases.as_slice(),
            _ => &[],
        };
        names
            .map(|name| {
                let docs = wit_cases.iter().find(|case| case.name == name);
                self.plain_case(name, docs.and_then(|case| text_of(&case.docs)))
            })
            .collect()
    }

    pub(super) fn flags<'t>(
        &mut self,
        names: impl Iterator<Item = &'t str>,
        wit: Option<&TypeDefKind>,
    ) -> Result<Vec<Case>, String> {
        let wit_flags = match wit {
            Some(TypeDefKind::Flags(flags)) => flags.flags.as_slice(),
            _ => &[],
        };
        names
            .map(|name| {
                let docs = wit_flags.iter().find(|flag| flag.name == name);
                self.plain_case(name, docs.and_then(|flag| text_of(&flag.docs)))
            })
            .collect()
    }

    fn plain_case(&mut self, name: &str, docs: Option<String>) -> Result<Case, String> {
        self.named(name)?;
        Ok(Case {
            json: snake(name),
            wit: name.to_owned(),
            docs: self.text(docs),
            payload: None,
        })
    }
}

/// The shape of a scalar; `None` for anything else.
pub(super) fn scalar(ty: &Type) -> Option<TyKind> {
    Some(match ty {
        Type::Bool => TyKind::Bool,
        Type::S8 => TyKind::Int(Int::S8),
        Type::U8 => TyKind::Int(Int::U8),
        Type::S16 => TyKind::Int(Int::S16),
        Type::U16 => TyKind::Int(Int::U16),
        Type::S32 => TyKind::Int(Int::S32),
        Type::U32 => TyKind::Int(Int::U32),
        Type::S64 => TyKind::Int(Int::S64),
        Type::U64 => TyKind::Int(Int::U64),
        Type::Float32 => TyKind::F32,
        Type::Float64 => TyKind::F64,
        Type::Char => TyKind::Char,
        Type::String => TyKind::String,
        _ => return None,
    })
}
