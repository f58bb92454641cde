//! How a reading call picks rows: marks, ranges, pages, ids.

use rust_decimal::Decimal;

use crate::moment::{MICROS, Moment};
use crate::orders::Order;
use crate::params::Params;
use crate::refusal::Refusal;

/// Rows of a history that one answer holds.
pub(crate) const PAGE: usize = 50;
/// Ids that one query may name.
const QUERY: usize = 50;

/// The marks by which a client picks orders.
pub(crate) struct OrderFilter {
    userref: Option<i32>,
    cl_ord_id: Option<String>,
}

impl OrderFilter {
    pub(crate) fn read(params: &Params) -> Result<Self, Refusal> {
        let userref = params.get("userref").map(str::parse).transpose();
        Ok(Self {
            userref: userref.map_err(|_| Refusal::InvalidArguments("userref"))?,
            cl_ord_id: params.get("cl_ord_id").map(str::to_owned),
        })
    }

    pub(crate) fn lets_through(&self, order: &Order) -> bool {
        (self.userref.is_none() || self.userref == order.terms.userref)
            && (self.cl_ord_id.is_none() || self.cl_ord_id == order.terms.cl_ord_id)
    }
}

/// From when, exclusive, and until when, inclusive.
pub(crate) struct Range {
    after: Option<Moment>,
    until: Option<Moment>,
}

impl Range {
    /// Each end is a Unix time in seconds or the id of a row, whose time then counts.
    pub(crate) fn read(params: &Params, time_of: impl Fn(&str) -> Option<Moment>) -> Result<Self, Refusal> {
        let end = |name: &'static str| -> Result<Option<Moment>, Refusal> {
            let Some(text) = params.get(name) else {
                return Ok(None);
            };
            if let Ok(seconds) = bursar_model::decimal::parse(text) {
                let micros = seconds
                    .checked_mul(Decimal::from(MICROS))
                    .and_then(|micros| i64::try_from(micros.round()).ok())
                    .ok_or(Refusal::InvalidArguments(name))?;
                return Ok((micros > 0).then(|| Moment::from_micros(micros)));
            }
            time_of(text).map(Some).ok_or(Refusal::InvalidArguments(name))
        };
        Ok(Self {
            after: end("start")?,
            until: end("end")?,
        })
    }

    pub(crate) fn contains(&self, at: Moment) -> bool {
        self.after.is_none_or(|after| at > after) && self.until.is_none_or(|until| at <= until)
    }
}

pub(crate) fn offset(params: &Params) -> Result<usize, Refusal> {
    params.get("ofs").map_or(Ok(0), |text| {
        text.parse().map_err(|_| Refusal::InvalidArguments("ofs"))
    })
}

/// The ids of `txid`: a comma list without spaces.
pub(crate) fn ids(params: &Params) -> Result<Vec<&str>, Refusal> {
    let text = params.get("txid").ok_or(Refusal::InvalidArguments(""))?;
    let ids: Vec<&str> = text.split(',').collect();
    if ids.len() > QUERY || text.contains(' ') {
        return Err(Refusal::InvalidArguments("txid"));
    }
    Ok(ids)
}
