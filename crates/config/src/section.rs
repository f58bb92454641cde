//! One declaration per section: names, types, defaults, checks and explanations.

/// Declares a section of the settings.
///
/// Each field reads `name: Type = default, check;`. The check is a function of a reference to the
/// value, and says what is wrong with it; `any` accepts everything the type accepts.
macro_rules! section {
    (
        $(#[doc = $doc:literal])*
        pub struct $name:ident {
            $(
                $(#[doc = $field_doc:literal])*
                pub $field:ident : $kind:ty = $default:expr, $check:expr;
            )+
        }
    ) => {
        $(#[doc = $doc])*
        #[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
        pub struct $name {
            $( $(#[doc = $field_doc])* pub $field: $kind, )+
        }

        impl Default for $name {
            fn default() -> Self {
                Self { $( $field: $default, )+ }
            }
        }

        impl $crate::node::Node for $name {
            fn read_over(
                &mut self,
                value: &toml::Spanned<toml::de::DeValue<'_>>,
                reader: &mut $crate::reader::Reader<'_>,
            ) {
                let toml::de::DeValue::Table(table) = value.get_ref() else {
                    reader.wrong(format_args!(
                        "is {}, but it is a section with settings of its own",
                        $crate::node::kind(value.get_ref())
                    ));
                    return;
                };
                self.read_table(table, reader);
            }

            fn written(&self) -> Option<String> {
                None
            }

            fn schema(&self) -> serde_json::Value {
                let mut properties = serde_json::Map::new();
                $(
                    let doc: &[&str] = &[$($field_doc),*];
                    properties.insert(
                        stringify!($field).to_owned(),
                        $crate::render::described($crate::node::Node::schema(&self.$field), doc, &self.$field),
                    );
                )+
                serde_json::json!({ "type": "object", "additionalProperties": false, "properties": properties })
            }

            fn render_section(&self, path: &str, doc: &[&str], out: &mut String) {
                $crate::render::header(path, doc, out);
                $(
                    if let Some(written) = $crate::node::Node::written(&self.$field) {
                        $crate::render::setting(&[$($field_doc),*], stringify!($field), &written, out);
                    } else if let Some(example) = $crate::node::Node::example(&self.$field) {
                        $crate::render::setting(&[$($field_doc),*], concat!("#", stringify!($field)), &example, out);
                    }
                )+
                $(
                    let below = $crate::render::joined(path, stringify!($field));
                    $crate::node::Node::render_section(&self.$field, &below, &[$($field_doc),*], out);
                )+
            }

            fn names(&self, path: &str, names: &mut Vec<String>) {
                $(
                    let below = $crate::render::joined(path, stringify!($field));
                    $crate::node::Node::names(&self.$field, &below, names);
                )+
            }
        }

        impl $name {
            pub(crate) fn read_table(
                &mut self,
                table: &toml::de::DeTable<'_>,
                reader: &mut $crate::reader::Reader<'_>,
            ) {
                for (key, value) in table.iter() {
                    match key.get_ref().as_ref() {
                        $(
                            stringify!($field) => reader.within(stringify!($field), key.span(), |reader| {
                                $crate::node::Node::read_over(&mut self.$field, value, reader);
                                let check: fn(&$kind) -> Result<(), String> = $check;
                                if let Err(message) = check(&self.$field) {
                                    reader.wrong(message);
                                }
                            }),
                        )+
                        unknown => reader.unknown(unknown, key.span(), &[$(stringify!($field)),+]),
                    }
                }
            }
        }
    };
}
pub(crate) use section;

use bursar_model::Usd;
use rust_decimal::Decimal;

/// Accepts what the type accepts.
#[expect(
    clippy::unnecessary_wraps,
    reason = "a check says what is wrong, and here nothing is"
)]
pub(crate) fn any<T>(_value: &T) -> Result<(), String> {
    Ok(())
}

pub(crate) fn percent(value: &Decimal) -> Result<(), String> {
    let fits = *value >= Decimal::ZERO && *value <= Decimal::ONE_HUNDRED;
    fits.then_some(())
        .ok_or_else(|| format!("is {value}, but a percentage from 0 to 100 belongs here"))
}

pub(crate) fn percent_above_zero(value: &Decimal) -> Result<(), String> {
    percent(value)?;
    (!value.is_zero())
        .then_some(())
        .ok_or_else(|| "is 0, but a percentage above 0 belongs here".to_owned())
}

pub(crate) fn not_negative(value: &Usd) -> Result<(), String> {
    (!value.is_negative())
        .then_some(())
        .ok_or_else(|| format!("is {value}, but an amount that is not negative belongs here"))
}

pub(crate) fn at_least_one(value: &u32) -> Result<(), String> {
    (*value > 0)
        .then_some(())
        .ok_or_else(|| "is 0, but at least 1 belongs here".to_owned())
}

pub(crate) fn none_or_not_negative(value: &Option<Usd>) -> Result<(), String> {
    value.as_ref().map_or(Ok(()), not_negative)
}
