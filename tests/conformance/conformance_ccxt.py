#!/usr/bin/env python3
"""Trades on a local exchange through ccxt, as any of its users would, and checks what comes back.

usage: conformance_ccxt.py [--url URL] [--customer NAME] [FILE]

FILE holds the JSON lines that the sandbox printed at its start.
"""

import time
import uuid

import ccxt

from harness import Checks, arguments, expect, patiently, raises

SYMBOL = "BTC/USD"


def client(url, key, secret):
    exchange = ccxt.kraken({"apiKey": key, "secret": secret, "enableRateLimit": False})
    exchange.urls["api"] = {"public": url, "private": url}
    # The proxies of the surroundings have no business on the loopback.
    exchange.requests_trust_env = False
    exchange.session.trust_env = False
    return exchange


def limited(error):
    return isinstance(error, (ccxt.DDoSProtection, ccxt.RateLimitExceeded))


def main():
    url, customer = arguments(__doc__)
    checks = Checks()
    exchange = client(url, customer["key"], customer["secret"])

    def read(call):
        return patiently(limited, call)

    def markets():
        found = exchange.load_markets()
        expect(SYMBOL in found and len(found) > 1, f"only {sorted(found)}")
        for symbol in found:
            expect("XBT" not in symbol and "XDG" not in symbol, f"{symbol} is not a usual name")
        market = found[SYMBOL]
        expect(market["id"] == "XXBTZUSD", market["id"])
        expect(market["precision"]["price"] == 0.1, market["precision"])
        expect(market["limits"]["amount"]["min"] == 0.00005, market["limits"])
        expect(market["active"], "not active")
        # A replay may list few pairs; every one must do as the second.
        return next(symbol for symbol in sorted(found) if symbol != SYMBOL)

    def currencies():
        found = exchange.fetch_currencies()
        expect("BTC" in found and "USD" in found, sorted(found)[:5])

    def clock():
        offset = abs(exchange.fetch_time() - exchange.milliseconds())
        expect(offset < 5_000, f"{offset} ms apart")

    def status():
        expect(exchange.fetch_status()["status"] == "ok", "not ok")

    def ticker():
        found = exchange.fetch_ticker(SYMBOL)
        expect(0 < found["bid"] < found["ask"], f"{found['bid']} {found['ask']}")
        expect(found["low"] <= found["last"] <= found["high"], "last is outside low and high")
        return found

    def tickers():
        found = exchange.fetch_tickers([SYMBOL, other])
        expect(set(found) == {SYMBOL, other}, sorted(found))

    def order_book():
        book = exchange.fetch_order_book(SYMBOL, 20)
        expect(len(book["bids"]) == 20 and len(book["asks"]) == 20, "not 20 levels")
        expect(book["bids"][0][0] < book["asks"][0][0], "the book is crossed")
        prices = [level[0] for level in book["asks"]]
        expect(prices == sorted(prices), "asks do not rise")

    def candles():
        rows = exchange.fetch_ohlcv(SYMBOL, "5m")
        expect(100 < len(rows) <= 720, f"{len(rows)} rows")
        steps = {later[0] - earlier[0] for earlier, later in zip(rows, rows[1:])}
        expect(steps == {300_000}, f"steps {steps}")
        for _, opened, high, low, closed, _ in rows:
            expect(low <= min(opened, closed) and max(opened, closed) <= high, "an unsound candle")

    def public_trades():
        rows = exchange.fetch_trades(SYMBOL, limit=50)
        expect(rows and all(row["price"] > 0 and row["amount"] > 0 for row in rows), "no trades")

    def balance():
        found = read(exchange.fetch_balance)
        expect(found["total"]["USD"] > 1_000 and found["total"]["BTC"] > 0.1, f"{found['total']}")
        return found

    def fees():
        found = read(lambda: exchange.fetch_trading_fee(SYMBOL))
        expect(0 < found["maker"] < found["taker"] < 0.01, f"{found['maker']} {found['taker']}")

    other = checks.must("load markets", markets)
    checks.run("currencies", currencies)
    checks.run("clock", clock)
    checks.run("status", status)
    price = checks.must("ticker", ticker)["last"]
    checks.run("tickers", tickers)
    checks.run("order book", order_book)
    checks.run("ohlcv", candles)
    checks.run("public trades", public_trades)
    before = checks.must("balance", balance)
    checks.run("trading fee", fees)

    # An order far from the price rests.
    low = float(exchange.price_to_precision(SYMBOL, price * 0.5))
    client_id = str(uuid.uuid4())

    def limit_order():
        order = exchange.create_order(
            SYMBOL, "limit", "buy", 0.01, low, {"clientOrderId": client_id, "timeInForce": "GTC"}
        )
        expect(order["id"].startswith("O"), order["id"])
        return order["id"]

    resting = checks.must("limit order", limit_order)

    def open_orders():
        found = {order["id"]: order for order in read(lambda: exchange.fetch_open_orders(SYMBOL))}
        order = found[resting]
        expect(order["status"] == "open" and order["price"] == low, f"{order['status']} {order['price']}")
        expect(order["clientOrderId"] == client_id, order["clientOrderId"])
        expect(order["filled"] == 0 and order["amount"] == 0.01, "filled already")

    def one_order():
        order = read(lambda: exchange.fetch_order(resting, SYMBOL))
        expect(order["symbol"] == SYMBOL and order["side"] == "buy", "another order")

    def held():
        used = read(exchange.fetch_balance)["used"]["USD"] - before["used"].get("USD", 0)
        expect(low * 0.01 <= used < low * 0.01 * 1.02, f"{used} is held")

    def same_client_id():
        raises(
            ccxt.ExchangeError,
            lambda: exchange.create_order(
                SYMBOL, "limit", "buy", 0.01, low, {"clientOrderId": client_id}
            ),
        )
        expect("cl_ord_id not unique" in exchange.last_http_response, exchange.last_http_response)

    def amend():
        exchange.edit_order(resting, SYMBOL, "limit", "buy", 0.02, low + 10)
        order = read(lambda: exchange.fetch_order(resting, SYMBOL))
        expect((order["amount"], order["price"]) == (0.02, low + 10), f"{order['amount']} {order['price']}")

    def cancel():
        exchange.cancel_order(resting, SYMBOL)
        order = read(lambda: exchange.fetch_order(resting, SYMBOL))
        expect(order["status"] == "canceled", order["status"])

    def closed_orders():
        found = {order["id"]: order for order in read(lambda: exchange.fetch_closed_orders(SYMBOL))}
        expect(found[resting]["status"] == "canceled", found[resting]["status"])

    def released():
        used = read(exchange.fetch_balance)["used"].get("USD", 0)
        expect(used == before["used"].get("USD", 0), f"{used} is held")

    def cancel_again():
        raises(ccxt.OrderNotFound, lambda: exchange.cancel_order(resting, SYMBOL))

    checks.run("open orders", open_orders)
    checks.run("order by id", one_order)
    checks.run("a resting order holds its cost", held)
    checks.run("a client id is unique while its order is open", same_client_id)
    checks.run("amend", amend)
    checks.run("cancel", cancel)
    checks.run("closed orders", closed_orders)
    checks.run("a cancelled order holds nothing", released)
    checks.run("cancel of a gone order", cancel_again)

    # Market orders fill.
    def market_buy():
        order = exchange.create_order(SYMBOL, "market", "buy", 0.01)
        found = read(lambda: exchange.fetch_order(order["id"], SYMBOL))
        expect(found["status"] == "closed" and found["filled"] == 0.01, f"{found['status']}")
        expect(abs(found["average"] / price - 1) < 0.5, f"at {found['average']}")
        expect(float(found["fee"]["cost"]) > 0 and found["fee"]["currency"] == "USD", f"{found['fee']}")
        return found

    bought = checks.must("market buy", market_buy)

    def my_trades():
        rows = [row for row in read(lambda: exchange.fetch_my_trades(SYMBOL)) if row["order"] == bought["id"]]
        expect(abs(sum(row["amount"] for row in rows) - 0.01) < 1e-9, f"{len(rows)} trades")
        expect(abs(sum(row["cost"] for row in rows) - bought["cost"]) < 0.01, "another cost")
        expect(all(row["takerOrMaker"] == "taker" for row in rows), "not a taker")

    def paid():
        now = read(exchange.fetch_balance)
        gained = now["total"]["BTC"] - before["total"]["BTC"]
        spent = before["total"]["USD"] - now["total"]["USD"]
        expect(abs(gained - 0.01) < 1e-8, f"gained {gained}")
        expect(abs(spent - bought["cost"] - float(bought["fee"]["cost"])) < 0.01, f"spent {spent}")

    def ledger():
        rows = read(lambda: exchange.fetch_ledger("BTC"))
        expect(rows and abs(rows[-1]["amount"] - 0.01) < 1e-8, "no row")

    def market_sell():
        order = exchange.create_order(SYMBOL, "market", "sell", 0.01)
        found = read(lambda: exchange.fetch_order(order["id"], SYMBOL))
        expect(found["status"] == "closed" and found["side"] == "sell", found["status"])

    def marketable_limit():
        high = exchange.fetch_ticker(SYMBOL)["last"] * 1.05
        order = exchange.create_order(SYMBOL, "limit", "buy", 0.001, high, {"timeInForce": "IOC"})
        found = read(lambda: exchange.fetch_order(order["id"], SYMBOL))
        expect(found["status"] == "closed" and found["average"] < high, found["status"])

    def immediate_or_cancel():
        order = exchange.create_order(SYMBOL, "limit", "buy", 0.001, low, {"timeInForce": "IOC"})
        found = read(lambda: exchange.fetch_order(order["id"], SYMBOL))
        expect(found["status"] == "canceled" and found["filled"] == 0, found["status"])

    def post_only():
        order = exchange.create_order(SYMBOL, "limit", "buy", 0.001, low, {"postOnly": True})
        found = read(lambda: exchange.fetch_order(order["id"], SYMBOL))
        expect(found["postOnly"] and found["status"] == "open", f"{found['status']}")
        exchange.cancel_order(order["id"], SYMBOL)

    def stop_loss():
        order = exchange.create_order(
            SYMBOL, "market", "sell", 0.001, None, {"stopLossPrice": low}
        )
        found = read(lambda: exchange.fetch_order(order["id"], SYMBOL))
        expect(found["status"] == "open" and found["stopLossPrice"] == low, f"{found['stopLossPrice']}")
        exchange.cancel_order(order["id"], SYMBOL)

    def batch():
        terms = {"symbol": SYMBOL, "type": "limit", "side": "buy", "amount": 0.001}
        orders = exchange.create_orders([{**terms, "price": low}, {**terms, "price": low + 1}])
        ids = [order["id"] for order in orders]
        expect(len(set(ids)) == 2, f"{ids}")
        exchange.cancel_orders(ids)
        expect(not read(lambda: exchange.fetch_open_orders(SYMBOL)), "still open")

    def cancel_all():
        for step in range(2):
            exchange.create_order(SYMBOL, "limit", "buy", 0.001, low + step)
        exchange.cancel_all_orders()
        expect(not read(lambda: exchange.fetch_open_orders(SYMBOL)), "still open")

    checks.run("my trades", my_trades)
    checks.run("a fill moves cost and fee", paid)
    checks.run("ledger", ledger)
    checks.run("market sell", market_sell)
    checks.run("marketable limit order, immediate or cancel", marketable_limit)
    checks.run("immediate or cancel without a match", immediate_or_cancel)
    checks.run("post only", post_only)
    checks.run("stop loss", stop_loss)
    checks.run("batch of orders, batch of cancels", batch)
    checks.run("cancel all", cancel_all)

    # What must be refused, as what ccxt calls it.
    def refused(name, kinds, call):
        checks.run(name, lambda: raises(kinds, call))

    refused(
        "insufficient funds",
        ccxt.InsufficientFunds,
        lambda: exchange.create_order(SYMBOL, "limit", "buy", 100_000, low),
    )
    refused(
        "insufficient funds to sell",
        ccxt.InsufficientFunds,
        lambda: exchange.create_order(SYMBOL, "market", "sell", 1_000),
    )
    refused(
        "an order below the minimum",
        ccxt.InvalidOrder,
        lambda: exchange.create_order(SYMBOL, "limit", "buy", 0.00001, low),
    )
    refused("an unknown pair", ccxt.ExchangeError, lambda: exchange.public_get_ticker({"pair": "NOPE"}))
    wrong = client(url, customer["key"], "d3Jvbmc=")
    checks.run(
        "wrong signature",
        lambda: expect(
            "EAPI:Invalid signature" in str(raises(ccxt.ExchangeError, wrong.private_post_balance)),
            wrong.last_http_response,
        ),
    )
    stranger = client(url, "nobody", customer["secret"])
    refused("unknown key", ccxt.AuthenticationError, stranger.private_post_balance)
    late = client(url, customer["key"], customer["secret"])
    late.incrementing_nonce = lambda: int(time.time() * 1000) - 3_600_000
    refused("old nonce", ccxt.InvalidNonce, late.private_post_balance)
    checks.run("the key still works", lambda: read(exchange.fetch_balance))
    checks.finish()


main()
