//! One request in, one reply out: authentication, limits, faults, and the call itself.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use jiff::Timestamp;

use crate::endpoint::{Private, Public};
use crate::exchange::{Exchange, LateRequest, Timer};
use crate::faults::Fault;
use crate::json::Json;
use crate::mode::Mode;
use crate::moment::Moment;
use crate::orders::CustomerNo;
use crate::params::Params;
use crate::refusal::Refusal;

/// An HTTP request, as it came off the wire.
#[derive(Clone, Debug, Default)]
pub struct Request {
    /// `GET` or `POST`.
    pub method: String,
    /// The path without the query, exactly as sent: it is part of what is signed.
    pub path: String,
    /// What follows the question mark, without it.
    pub query: String,
    /// Names in lower case.
    pub headers: BTreeMap<String, String>,
    /// Exactly as sent: it is part of what is signed.
    pub body: Vec<u8>,
    /// Where it came from; `None` inside a process.
    pub peer: Option<IpAddr>,
}

/// What the transport does with a reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Disposition {
    /// Sends it.
    Answer,
    /// Closes the connection without a byte.
    Drop,
    /// Keeps the connection open and says nothing.
    Silence,
    /// Announces the whole body, sends so many bytes of it, and closes the connection.
    CutAfter(usize),
}

/// The answer to a request, and how it is to be delivered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// The HTTP status; a refusal by the exchange is 200.
    pub status: u16,
    /// For the header of that name.
    pub content_type: &'static str,
    /// All of it, also where the transport sends only a part.
    pub body: Vec<u8>,
    /// How long the transport waits before it answers.
    pub delay: Duration,
    /// Whether and how far it is sent.
    pub disposition: Disposition,
}

const PAGE: &str = "<!DOCTYPE html>\n<html><head><title>502 Bad Gateway</title></head>\n\
    <body><center><h1>Bad gateway</h1></center><hr><center>cloudflare</center></body></html>\n";

impl Reply {
    pub(crate) fn json(status: u16, json: &Json) -> Self {
        Self {
            status,
            content_type: "application/json",
            body: json.to_string().into_bytes(),
            delay: Duration::ZERO,
            disposition: Disposition::Answer,
        }
    }

    fn page(status: u16) -> Self {
        Self {
            status,
            content_type: "text/html; charset=UTF-8",
            body: PAGE.as_bytes().to_vec(),
            delay: Duration::ZERO,
            disposition: Disposition::Answer,
        }
    }

    fn envelope(outcome: Result<Json, Refusal>) -> Self {
        let json = match outcome {
            Err(Refusal::UnknownAssetPairAmong(others)) => return Self::in_part(&others),
            Ok(result) => Json::object([("error", Json::list([])), ("result", result)]),
            Err(refusal) => Json::object([("error", Json::list([Json::text(refusal)]))]),
        };
        Self::json(200, &json)
    }

    /// A result of the pairs that are listed beside the error of the others.
    fn in_part(result: &str) -> Self {
        let error = Json::list([Json::text(Refusal::UnknownAssetPair)]);
        let body = format!(r#"{{"error":{error},"result":{result}}}"#);
        Self {
            body: body.into_bytes(),
            ..Self::json(200, &Json::Null)
        }
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

impl Exchange {
    /// Deals with one request at this moment. Application outcomes are always status 200.
    pub fn handle(&mut self, now: Timestamp, request: &Request) -> Reply {
        let now = self.arrive(now);
        if let Some(rest) = request.path.strip_prefix("/sandbox/") {
            return self.handle_admin(rest, request, now);
        }
        if let Some(name) = request.path.strip_prefix("/0/public/") {
            return self.handle_public(name, request, now);
        }
        if let Some(name) = request.path.strip_prefix("/0/private/") {
            return self.handle_private(name, request, now);
        }
        Reply::page(404)
    }

    fn handle_public(&mut self, name: &str, request: &Request, now: Moment) -> Reply {
        let Some(endpoint) = Public::from_name(name) else {
            return self.refuse(Refusal::UnknownMethod);
        };
        self.count_request(endpoint.name());
        let mut params = Params::from_form(&request.query);
        if request.method == "POST" && !request.body.is_empty() {
            match read_body(request) {
                Ok(body) => params = body,
                Err(refusal) => return self.refuse(refusal),
            }
        }
        let fault = self.faults.choose(endpoint.name(), None);
        self.with_fault(fault.as_ref(), false, now, |exchange| {
            exchange.answer_public(endpoint, &params, request.peer, now)
        })
    }

    fn answer_public(
        &mut self,
        endpoint: Public,
        params: &Params,
        peer: Option<IpAddr>,
        now: Moment,
    ) -> Result<Json, Refusal> {
        if let (Some(limit), Some(peer)) = (self.settings.public_limit, peer)
            && !self
                .public_counters
                .entry(peer)
                .or_default()
                .charge_public(now, limit)
        {
            return Err(Refusal::TooManyRequests);
        }
        if !self.is_public_open(endpoint) {
            return Err(Refusal::Unavailable);
        }
        self.call_public(endpoint, params, now)
    }

    fn handle_private(&mut self, name: &str, request: &Request, now: Moment) -> Reply {
        let endpoint = match Private::from_name(name) {
            Some(endpoint) if request.method == "POST" => endpoint,
            _ => return self.refuse(Refusal::UnknownMethod),
        };
        self.count_request(endpoint.name());
        if endpoint.is_funding_write() {
            self.funding_write_attempts = self.funding_write_attempts.saturating_add(1);
        }
        let customer = request
            .headers
            .get("api-key")
            .and_then(|key| self.keys.get(key))
            .copied();
        let who = customer
            .and_then(|number| self.customer(number))
            .map(|customer| customer.spec.name.clone());
        let fault = self.faults.choose(endpoint.name(), who.as_deref());
        if fault == Some(Fault::Duplicate) {
            let first = self.answer_private(endpoint, customer, request, now, None);
            self.note(&first);
        }
        self.with_fault(fault.as_ref(), endpoint.is_order_write(), now, |exchange| {
            exchange.answer_private(endpoint, customer, request, now, fault.as_ref())
        })
    }

    /// Who is calling, may they, how often; then the call.
    fn answer_private(
        &mut self,
        endpoint: Private,
        customer: Option<CustomerNo>,
        request: &Request,
        now: Moment,
        fault: Option<&Fault>,
    ) -> Result<Json, Refusal> {
        let customer = customer.ok_or(Refusal::InvalidKey)?;
        let mut params = self.authenticate(customer, request, now)?;
        match fault {
            Some(Fault::Nonce) => return Err(Refusal::InvalidNonce),
            Some(Fault::RateLimit) if endpoint.is_order_write() => return Err(Refusal::OrderRateLimit),
            Some(Fault::RateLimit) => return Err(Refusal::RateLimitExceeded),
            Some(Fault::Throttled { pause }) => {
                let until = now.plus(*pause).seconds();
                return Err(Refusal::Injected(format!("EService:Throttled:{until}")));
            }
            Some(Fault::Error {
                message,
                accept: false,
            }) => return Err(Refusal::Injected(message.clone())),
            _ => {}
        }
        if let Some(cost) = endpoint.rest_cost() {
            let account = self.customer_mut(customer).ok_or(Refusal::InvalidKey)?;
            let tier = account.spec.limit_tier;
            if !account.rest.charge_rest(now, tier, cost) {
                return Err(Refusal::RateLimitExceeded);
            }
        }
        let account = self.customer(customer).ok_or(Refusal::InvalidKey)?;
        if !endpoint.needs().met_by(&account.spec.rights) {
            return Err(Refusal::PermissionDenied);
        }
        if self.mode == Mode::Maintenance {
            return Err(Refusal::Unavailable);
        }
        if let Some(Fault::Late { delay }) = fault {
            params.received = Some(now);
            let late = LateRequest {
                customer,
                endpoint,
                params,
            };
            self.set_timer(now.plus(*delay), Timer::Late(Box::new(late)));
            return Ok(Json::Null);
        }
        self.call_with(endpoint, customer, &params, now, fault)
    }

    /// Key, lockout, signature, nonce, second factor: in this order.
    fn authenticate(
        &mut self,
        number: CustomerNo,
        request: &Request,
        now: Moment,
    ) -> Result<Params, Refusal> {
        const WINDOW: Duration = Duration::from_secs(60);
        let (threshold, lockout) = (self.settings.lockout_threshold, self.settings.lockout);
        let customer = self.customer_mut(number).ok_or(Refusal::InvalidKey)?;
        if customer.locked_until.is_some_and(|until| now < until) {
            return Err(Refusal::TemporaryLockout);
        }
        customer.asking = request.headers.get("api-key").cloned().unwrap_or_default();
        let checked = check_request(customer, request);
        match checked {
            Ok(params) => {
                customer.last_used = Some(now);
                Ok(params)
            }
            Err(refusal) => {
                if matches!(refusal, Refusal::InvalidNonce | Refusal::InvalidSignature) {
                    customer.failures.retain(|at| at.plus(WINDOW) > now);
                    customer.failures.push(now);
                    if customer.failures.len() >= usize::try_from(threshold).unwrap_or(usize::MAX) {
                        customer.locked_until = Some(now.plus(lockout));
                        customer.failures.clear();
                    }
                }
                Err(refusal)
            }
        }
    }

    /// The call of an endpoint, without any fault.
    pub(crate) fn call(
        &mut self,
        endpoint: Private,
        customer: CustomerNo,
        params: &Params,
        now: Moment,
    ) -> Result<Json, Refusal> {
        self.call_with(endpoint, customer, params, now, None)
    }

    fn call_with(
        &mut self,
        endpoint: Private,
        customer: CustomerNo,
        params: &Params,
        now: Moment,
        fault: Option<&Fault>,
    ) -> Result<Json, Refusal> {
        match endpoint {
            Private::GetApiKeyInfo => self.key_info(customer),
            Private::Balance => self.balance(customer),
            Private::BalanceEx => self.balance_ex(customer),
            Private::TradeBalance => self.trade_balance(customer, now),
            Private::TradeVolume => self.trade_volume(customer, params),
            Private::OpenOrders => self.open_orders(customer, params, now),
            Private::ClosedOrders => self.closed_orders(customer, params, now),
            Private::QueryOrders => self.query_orders(customer, params, now),
            Private::OrderAmends => self.order_amends(customer, params),
            Private::OpenPositions => Ok(Json::object::<String>([])),
            Private::TradesHistory => self.trades_history(customer, params),
            Private::QueryTrades => self.query_trades(customer, params),
            Private::Ledgers => self.ledgers(customer, params),
            Private::QueryLedgers => self.query_ledgers(customer, params),
            Private::AddOrder => self.add_order(customer, params, now, fault),
            Private::AddOrderBatch => self.add_order_batch(customer, params, now, fault),
            Private::AmendOrder => self.amend_order(customer, params, now),
            // The legacy cancel-and-new is not offered here: amend, or cancel and add.
            Private::EditOrder => Err(Refusal::NotEditable),
            Private::CancelOrder => self.cancel_order(customer, params, now, fault),
            Private::CancelOrderBatch => self.cancel_order_batch(customer, params, now),
            Private::CancelAll => self.cancel_all(customer, now),
            Private::CancelAllOrdersAfter => self.cancel_all_after(customer, params, now),
            Private::GetWebSocketsToken => Ok(Json::object([
                ("token", Json::text(self.ids.token())),
                ("expires", Json::number(900)),
            ])),
            Private::WithdrawMethods => self.withdraw_methods(params),
            Private::WithdrawAddresses | Private::WithdrawStatus | Private::DepositStatus => {
                Ok(Json::list([]))
            }
            Private::DepositMethods | Private::DepositAddresses | Private::WithdrawInfo => {
                Err(Refusal::FundingNoMethod)
            }
            Private::Withdraw
            | Private::WithdrawCancel
            | Private::WalletTransfer
            | Private::AccountTransfer
            | Private::CreateSubaccount => Err(Refusal::PermissionDenied),
        }
    }

    /// Deals with a request under a fault: before it, instead of it, or after it.
    fn with_fault(
        &mut self,
        fault: Option<&Fault>,
        is_order: bool,
        now: Moment,
        deal: impl FnOnce(&mut Self) -> Result<Json, Refusal>,
    ) -> Reply {
        match fault {
            Some(Fault::Drop { accept: false }) => return silent(Disposition::Drop),
            Some(Fault::Page {
                status,
                accept: false,
            }) => return Reply::page(*status),
            _ => {}
        }
        let outcome = deal(self);
        self.note(&outcome);
        let reply = Reply::envelope(outcome);
        match fault {
            Some(Fault::Drop { .. }) => silent(Disposition::Drop),
            Some(Fault::Silence | Fault::Late { .. }) => silent(Disposition::Silence),
            Some(Fault::Page { status, .. }) => Reply::page(*status),
            Some(Fault::Truncate) => {
                let half = reply.body.len() / 2;
                let body = reply.body.get(..half).unwrap_or_default().to_vec();
                Reply { body, ..reply }
            }
            Some(Fault::Cut) => {
                let half = reply.body.len() / 2;
                Reply {
                    disposition: Disposition::CutAfter(half),
                    ..reply
                }
            }
            Some(Fault::Slow { delay }) => Reply {
                delay: *delay,
                ..reply
            },
            Some(Fault::Error { message, .. }) => Reply::envelope(Err(Refusal::Injected(message.clone()))),
            Some(Fault::Empty) => Reply::json(200, &Json::object([("error", Json::list([]))])),
            // Anonymous callers have no nonce, but they can be too many.
            Some(Fault::RateLimit) if !is_order => Reply::envelope(Err(Refusal::RateLimitExceeded)),
            Some(Fault::Throttled { pause }) => {
                let until = now.plus(*pause).seconds();
                Reply::envelope(Err(Refusal::Injected(format!("EService:Throttled:{until}"))))
            }
            _ => reply,
        }
    }

    fn refuse(&mut self, refusal: Refusal) -> Reply {
        let outcome = Err(refusal);
        self.note(&outcome);
        Reply::envelope(outcome)
    }

    fn count_request(&mut self, endpoint: &'static str) {
        let count = self.requests.entry(endpoint).or_default();
        *count = count.saturating_add(1);
    }

    fn note(&mut self, outcome: &Result<Json, Refusal>) {
        if let Err(refusal) = outcome {
            let count = self.refusals.entry(refusal.to_string()).or_default();
            *count = count.saturating_add(1);
        }
    }
}

fn silent(disposition: Disposition) -> Reply {
    Reply {
        status: 200,
        content_type: "application/json",
        body: Vec::new(),
        delay: Duration::ZERO,
        disposition,
    }
}

fn read_body(request: &Request) -> Result<Params, Refusal> {
    let is_json = request
        .headers
        .get("content-type")
        .is_some_and(|kind| kind.to_ascii_lowercase().contains("json"));
    if is_json {
        return Params::from_json(&request.body);
    }
    std::str::from_utf8(&request.body)
        .map(Params::from_form)
        .map_err(|_| Refusal::BadRequest)
}

fn check_request(customer: &mut crate::exchange::Customer, request: &Request) -> Result<Params, Refusal> {
    let params = read_body(request)?;
    let text = params.get("nonce").ok_or(Refusal::InvalidNonce)?;
    let signature = request.headers.get("api-sign").map_or("", String::as_str);
    let key = customer.asking_key_mut().ok_or(Refusal::InvalidKey)?;
    if !key.secret.verifies(&request.path, text, &request.body, signature) {
        return Err(Refusal::InvalidSignature);
    }
    let digits_only = text.bytes().all(|byte| byte.is_ascii_digit());
    let nonce: u64 = text
        .parse()
        .ok()
        .filter(|_| digits_only)
        .ok_or(Refusal::InvalidNonce)?;
    if !key.nonce.accept(nonce) {
        return Err(Refusal::InvalidNonce);
    }
    if let Some(otp) = &customer.spec.otp
        && params.get("otp") != Some(otp.expose())
    {
        return Err(Refusal::InvalidSignature);
    }
    Ok(params)
}
