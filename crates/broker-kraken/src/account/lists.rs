//! Orders and fills: whole lists, or none.

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::PoisonError;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bursar_broker::{ErrorClass, ReadError, VenueOrder};
use bursar_model::{Amount, ClientOrderId, Fill, Liquidity, Pair, Price, Quantity};
use jiff::Timestamp;

use super::Kraken;
use crate::envelope::unreadable;
use crate::form::Form;
use crate::limits::Share;
use crate::names::Named;
use crate::orders;
use crate::text::{Text, Unreadable, unreadable as no};
use crate::wire::{ClosedOrders, OpenOrders, TradesHistory, WireOrder, WireTrade};

/// Rows of a page of closed orders or trades.
const PAGE: usize = 50;
const MOST_PAGES: usize = 400;
/// Before a page is asked for a second time, where Kraken names no pause.
const ONCE_MORE_AFTER: Duration = Duration::from_secs(2);
/// A longer pause than this is for the caller to know of.
const WAITED_FOR: Duration = Duration::from_secs(20);

struct Page<Row> {
    rows: BTreeMap<String, Row>,
    count: Option<Text>,
}

impl Kraken {
    /// The rows of a list that comes in pages, newest first.
    ///
    /// The window has no fixed end, so what happens meanwhile moves rows to later pages, where they
    /// are read twice, and never past us. A list that ends before the number of rows that its first
    /// page announced was cut off, and is no list.
    async fn pages<Row, Fetch, Fetched>(
        &self,
        call: &str,
        fetch: Fetch,
    ) -> Result<BTreeMap<String, Row>, ReadError>
    where
        Fetch: Fn(usize) -> Fetched + Send + Sync,
        Fetched: Future<Output = Result<Page<Row>, ReadError>> + Send,
        Row: Send,
    {
        let cut_off = |reason: String| ReadError::TryAgain {
            class: ErrorClass::Ambiguous,
            reason: format!("{call}: {reason}"),
            wait: None,
        };
        let mut all = BTreeMap::new();
        let mut announced = None;
        let mut offset = 0_usize;
        for _ in 0..MOST_PAGES {
            let page = match fetch(offset).await {
                // A long list is not begun anew for one page.
                Err(ReadError::TryAgain { wait, .. })
                    if offset > 0 && wait.is_none_or(|wait| wait <= WAITED_FOR) =>
                {
                    tokio::time::sleep(wait.unwrap_or(ONCE_MORE_AFTER)).await;
                    fetch(offset).await?
                }
                page => page?,
            };
            let rows = page.rows.len();
            let count = page
                .count
                .map(|count| count.unsigned())
                .transpose()
                .map_err(|reason| unreadable(call, reason))?
                .and_then(|count| usize::try_from(count).ok());
            offset = offset.saturating_add(rows);
            all.extend(page.rows);
            announced = announced.or(count);
            let done = rows == 0 || count.map_or(rows < PAGE, |count| offset >= count);
            if done {
                return match announced {
                    Some(announced) if all.len() < announced => {
                        Err(cut_off(format!("{} of {announced} rows came", all.len())))
                    }
                    _ => Ok(all),
                };
            }
        }
        Err(cut_off(format!("more than {MOST_PAGES} pages")))
    }

    async fn working(&self, form: &Form, share: Share) -> Result<BTreeMap<String, WireOrder>, ReadError> {
        let orders: OpenOrders = self.read("OpenOrders", form, 2, share).await?;
        Ok(orders.open)
    }

    async fn ended(&self, form: &Form, share: Share) -> Result<BTreeMap<String, WireOrder>, ReadError> {
        self.pages("ClosedOrders", |offset| async move {
            let form = form.clone().with("ofs", &offset.to_string());
            let page: ClosedOrders = self.read("ClosedOrders", &form, 2, share).await?;
            Ok(Page {
                rows: page.closed,
                count: page.count,
            })
        })
        .await
    }

    async fn venue_orders(
        &self,
        call: &str,
        wire: &BTreeMap<String, WireOrder>,
    ) -> Result<Vec<VenueOrder>, ReadError> {
        let spellings = wire.values().filter_map(|order| order.descr.pair.as_deref());
        let directory = self.public.directory_for(spellings).await?;
        let mut orders = Vec::with_capacity(wire.len());
        for (id, order) in wire {
            let spelling = order.descr.pair.as_deref().unwrap_or_default();
            // A list with an order that may be ours and cannot be read is none.
            let may_be_ours = order.cl_ord_id.as_deref().is_some_and(orders::may_be_ours);
            let is_known =
                directory.named(spelling) != Named::Unknown || directory.unlisted(spelling).is_some();
            if !may_be_ours && !is_known {
                self.leave_out(call, spelling);
                continue;
            }
            let read = orders::venue_order(id, order, &directory);
            orders.extend(read.map_err(|reason| unreadable(call, reason))?);
        }
        orders.sort_by(|a, b| a.opened_at.cmp(&b.opened_at).then_with(|| a.id.cmp(&b.id)));
        Ok(orders)
    }

    pub(super) async fn working_orders(&self) -> Result<Vec<VenueOrder>, ReadError> {
        let open = self.working(&Form::new(), Share::Ordinary).await?;
        self.venue_orders("OpenOrders", &open).await
    }

    pub(super) async fn ended_orders(&self, since: Timestamp) -> Result<Vec<VenueOrder>, ReadError> {
        let form = Form::new()
            .with("closetime", "close")
            .with("start", &window_start(since));
        let mut ended = self.ended(&form, Share::Ordinary).await?;
        let mut unreadable_end = None;
        ended.retain(|_, order| match orders::ended_at(order) {
            Ok(at) => at.is_none_or(|at| at >= since),
            Err(reason) => {
                unreadable_end = Some(reason);
                true
            }
        });
        match unreadable_end {
            Some(reason) => Err(unreadable("ClosedOrders", reason)),
            None => self.venue_orders("ClosedOrders", &ended).await,
        }
    }

    /// Open, closed, open again: between two looks an order can move from neither list to the
    /// first, and from the first to the second. What ended counts over what was still working.
    pub(super) async fn look_for(
        &self,
        id: &ClientOrderId,
        since: Timestamp,
    ) -> Result<Vec<VenueOrder>, ReadError> {
        let by_id = Form::new().with("cl_ord_id", id.as_str());
        let windowed = by_id.clone().with("start", &window_start(since));
        self.looked_up.store(true, Ordering::Relaxed);
        let before = self.working(&by_id, Share::Reserved).await?;
        let ended = self.ended(&windowed, Share::Reserved).await?;
        let mut all = self.working(&by_id, Share::Reserved).await?;
        all.extend(before);
        all.extend(ended);
        // A parameter that an exchange does not know is ignored: the filter is applied here too.
        all.retain(|_, order| {
            order
                .cl_ord_id
                .as_deref()
                .and_then(orders::client_order_id)
                .as_ref()
                == Some(id)
        });
        self.venue_orders("OpenOrders and ClosedOrders", &all).await
    }

    pub(super) async fn read_fills(&self, since: Timestamp) -> Result<Vec<Fill>, ReadError> {
        const CALL: &str = "TradesHistory";
        let base = Form::new()
            // Every slice of its own, with the ids that other lists use.
            .with("consolidate_taker", "false")
            .with("start", &window_start(since));
        let base = &base;
        // Those that follow a lookup are part of it.
        let share = match self.looked_up.swap(false, Ordering::Relaxed) {
            true => Share::Reserved,
            false => Share::Ordinary,
        };
        let trades: BTreeMap<String, WireTrade> = self
            .pages(CALL, |offset| async move {
                let form = base.clone().with("ofs", &offset.to_string());
                let page: TradesHistory = self.read(CALL, &form, 2, share).await?;
                Ok(Page {
                    rows: page.trades,
                    count: page.count,
                })
            })
            .await?;
        let spellings = trades.values().map(|trade| trade.pair.as_str());
        let directory = self.public.directory_for(spellings).await?;
        let mut fills = Vec::with_capacity(trades.len());
        for (id, trade) in &trades {
            let pair = match directory.named(&trade.pair) {
                Named::Pair(known) => Some(known.pair().clone()),
                Named::BeyondUs => continue,
                Named::Unknown => directory.unlisted(&trade.pair),
            };
            let Some(pair) = pair else {
                // Of an order of ours, whose pair is gone since, the list of orders says that more was filled than
                // is booked; what the owner trades by hand there keeps nobody from reading the rest.
                self.leave_out(CALL, &trade.pair);
                continue;
            };
            let fill = read_fill(id, trade, &pair).map_err(|reason| unreadable(CALL, reason))?;
            if fill.at >= since {
                fills.push(fill);
            }
        }
        fills.sort_by(|a, b| a.at.cmp(&b.at).then_with(|| a.id.cmp(&b.id)));
        Ok(fills)
    }
}

impl Kraken {
    /// Told once for each pair.
    fn leave_out(&self, call: &str, spelling: &str) {
        const MOST: usize = 1_000;
        let mut told = self.left_out.lock().unwrap_or_else(PoisonError::into_inner);
        if told.len() < MOST && told.insert(spelling.to_owned()) {
            let pair: String = spelling.chars().take(40).collect();
            tracing::warn!(
                call,
                pair,
                "a pair that Kraken does not list: what was traded there by hand, or by another program, is left out"
            );
        }
    }
}

/// Kraken counts in whole seconds and leaves the first moment of a window out.
fn window_start(since: Timestamp) -> String {
    since.as_second().saturating_sub(1).to_string()
}

pub(crate) fn read_fill(id: &str, trade: &WireTrade, pair: &Pair) -> Result<Fill, Unreadable> {
    Ok(Fill {
        id: id.parse().map_err(|_| no(id, "a trade id"))?,
        venue_order_id: trade
            .ordertxid
            .parse()
            .map_err(|_| no(&trade.ordertxid, "an order id"))?,
        pair: pair.clone(),
        side: orders::side(&trade.side)?,
        quantity: Quantity::new(trade.vol.decimal()?).map_err(|_| no(trade.vol.as_str(), "a quantity"))?,
        price: Price::new(trade.price.decimal()?).map_err(|_| no(trade.price.as_str(), "a price"))?,
        // Kraken states fees in the quote asset, whatever they were paid in.
        fee: Amount::new(pair.quote().clone(), trade.fee.decimal()?),
        liquidity: match trade.maker {
            Some(true) => Liquidity::Maker,
            Some(false) | None => Liquidity::Taker,
        },
        at: trade.time.moment()?,
    })
}
