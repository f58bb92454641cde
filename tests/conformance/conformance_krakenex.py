#!/usr/bin/env python3
"""Trades on a local exchange through krakenex: no layer between the script and the protocol.

usage: conformance_krakenex.py [--url URL] [--customer NAME] [FILE]

FILE holds the JSON lines that the sandbox printed at its start.
"""

import time
import uuid
from decimal import Decimal

import krakenex

from harness import Checks, arguments, expect, patiently

PAIR = "XBTUSD"


class Client(krakenex.API):
    """krakenex with a nonce that rises even when two calls fall into one millisecond."""

    last = 0

    def __init__(self, url, key, secret):
        super().__init__(key=key, secret=secret)
        self.uri = url
        self.session.trust_env = False

    def _nonce(self):
        Client.last = max(Client.last + 1, super()._nonce())
        return Client.last


def main():
    url, customer = arguments(__doc__)
    checks = Checks()
    api = Client(url, customer["key"], customer["secret"])

    def limited(reply):
        return isinstance(reply, dict) and "EAPI:Rate limit exceeded" in reply["error"]

    def public(method, **data):
        reply = api.query_public(method, data, timeout=30)
        expect(reply["error"] == [], reply["error"])
        return reply["result"]

    def read(method, **data):
        reply = patiently(limited, lambda: api.query_private(method, dict(data), timeout=30))
        expect(reply["error"] == [], reply["error"])
        return reply["result"]

    def write(method, **data):
        reply = api.query_private(method, data, timeout=30)
        expect(reply["error"] == [], reply["error"])
        return reply["result"]

    def error(method, text, sender=api, **data):
        reply = patiently(limited, lambda: sender.query_private(method, dict(data), timeout=30))
        expect(reply["error"] == [text], reply)
        expect("result" not in reply, "there is a result")

    def clock():
        found = public("Time")
        expect(abs(found["unixtime"] - time.time()) < 5, found)

    def status():
        expect(public("SystemStatus")["status"] == "online", "not online")

    def pairs():
        found = public("AssetPairs", pair=PAIR)
        expect(list(found) == ["XXBTZUSD"], list(found))
        row = found["XXBTZUSD"]
        expect((row["altname"], row["wsname"], row["tick_size"]) == (PAIR, "XBT/USD", "0.1"), row)

    def assets():
        found = public("Assets", asset="XBT,USD")
        expect(set(found) == {"XXBT", "ZUSD"}, set(found))

    def ticker():
        row = public("Ticker", pair=PAIR)["XXBTZUSD"]
        bid, ask = Decimal(row["b"][0]), Decimal(row["a"][0])
        expect(0 < bid < ask, (bid, ask))
        return (bid, ask)

    def candles():
        found = public("OHLC", pair=PAIR, interval=1)
        rows = found["XXBTZUSD"]
        expect(1 < len(rows) <= 720 and len(rows[-1]) == 8, len(rows))
        expect(found["last"] == rows[-2][0], "`last` is not the last closed candle")
        expect(all(isinstance(row[0], int) and isinstance(row[1], str) for row in rows), "types")

    def depth():
        book = public("Depth", pair=PAIR, count=5)["XXBTZUSD"]
        expect(len(book["asks"]) == 5 and len(book["bids"]) == 5, "not 5 levels")

    def public_trades():
        found = public("Trades", pair=PAIR, count=10)
        rows = found["XXBTZUSD"]
        expect(len(rows) == 10 and isinstance(found["last"], str), found["last"])
        newer = public("Trades", pair=PAIR, since=found["last"], count=1000)["XXBTZUSD"]
        expect(rows[-1][6] not in [row[6] for row in newer], "`since` repeats the last trade")

    def spread():
        expect(public("Spread", pair=PAIR)["XXBTZUSD"], "no rows")

    checks.run("time", clock)
    checks.run("system status", status)
    checks.run("asset pairs", pairs)
    checks.run("assets", assets)
    bid, _ = checks.must("ticker", ticker)
    checks.run("ohlc", candles)
    checks.run("depth", depth)
    checks.run("public trades", public_trades)
    checks.run("spread", spread)

    def key_info():
        found = read("GetApiKeyInfo")
        rights = found.get("permissions")
        expect("modify-trades" in rights and "withdraw-funds" not in rights, rights)

    def balance():
        found = {asset: Decimal(amount) for asset, amount in read("Balance").items()}
        expect(found["ZUSD"] > 1_000 and found["XXBT"] > Decimal("0.1"), found)
        return found

    def balance_ex():
        row = read("BalanceEx")["ZUSD"]
        expect(Decimal(row["balance"]) >= Decimal(row["hold_trade"]) >= 0, row)

    def fees():
        row = read("TradeVolume", pair=PAIR)["fees"]["XXBTZUSD"]
        expect(0 < Decimal(row["fee"]) < 1, row)

    checks.run("key info", key_info)
    before = checks.must("balance", balance)
    checks.run("extended balance", balance_ex)
    checks.run("trade volume", fees)

    low = str((bid / 2).quantize(Decimal("0.1")))
    mark = str(uuid.uuid4())
    limit = {"pair": PAIR, "type": "buy", "ordertype": "limit", "price": low, "volume": "0.01"}

    def validated():
        found = write("AddOrder", validate="true", **limit)
        expect("txid" not in found and found["descr"]["order"].startswith("buy 0.01"), found)

    def limit_order():
        found = write("AddOrder", cl_ord_id=mark, **limit)
        expect(found["descr"]["order"] == f"buy 0.01000000 {PAIR} @ limit {low}", found["descr"])
        expect(isinstance(found["txid"], list) and len(found["txid"]) == 1, found["txid"])
        return found["txid"][0]

    checks.run("validate places nothing", validated)
    resting = checks.must("limit order", limit_order)

    def open_orders():
        order = read("OpenOrders")["open"][resting]
        expect((order["status"], order["cl_ord_id"]) == ("open", mark), order)
        expect(order["descr"]["pair"] == PAIR and Decimal(order["vol_exec"]) == 0, order)
        expect(list(read("OpenOrders", cl_ord_id=mark)["open"]) == [resting], "not found by its own id")

    def held():
        hold = Decimal(read("BalanceEx")["ZUSD"]["hold_trade"])
        expect(hold >= Decimal(low) / 100, hold)

    def same_id():
        error("AddOrder", "EGeneral:Invalid arguments:cl_ord_id not unique", cl_ord_id=mark, **limit)

    def query():
        found = read("QueryOrders", txid=f"{resting},OAAAAA-AAAAA-AAAAAA")
        expect(list(found) == [resting], list(found))

    def cancel():
        expect(write("CancelOrder", txid=resting) == {"count": 1}, "not one")
        order = read("QueryOrders", txid=resting)[resting]
        expect((order["status"], order["reason"]) == ("canceled", "User requested"), order)

    def closed_orders():
        found = read("ClosedOrders", cl_ord_id=mark)
        expect(list(found["closed"]) == [resting] and found["count"] == 1, found)

    def reused():
        txid = write("AddOrder", cl_ord_id=mark, **limit)["txid"][0]
        expect(txid != resting, "the same order")
        expect(write("CancelOrder", cl_ord_id=mark) == {"count": 1}, "not one")

    checks.run("open orders", open_orders)
    checks.run("a resting order holds its cost", held)
    checks.run("a client id is unique while its order is open", same_id)
    checks.run("query orders leaves out what it does not know", query)
    checks.run("cancel", cancel)
    checks.run("cancel of a gone order", lambda: error("CancelOrder", "EOrder:Unknown order", txid=resting))
    checks.run(
        "cancel of an order that never was",
        lambda: error("CancelOrder", "EOrder:Invalid order", txid="OAAAAA-AAAAA-AAAAAA"),
    )
    checks.run("closed orders", closed_orders)
    checks.run("a client id is free again once its order is closed", reused)

    market = {"pair": PAIR, "ordertype": "market", "volume": "0.01"}

    def buy():
        txid = write("AddOrder", type="buy", **market)["txid"][0]
        order = read("QueryOrders", txid=txid, trades="true")[txid]
        expect(order["status"] == "closed" and order["trades"], order)
        return (txid, order)

    txid, order = checks.must("market order", buy)

    def trades():
        rows = read("TradesHistory", consolidate_taker="false")["trades"]
        mine = [row for row in rows.values() if row["ordertxid"] == txid]
        expect(all(row["pair"] == "XXBTZUSD" and row["maker"] is False for row in mine), mine)
        expect(sum(Decimal(row["vol"]) for row in mine) == Decimal("0.01"), mine)
        expect(sum(Decimal(row["cost"]) for row in mine) == Decimal(order["cost"]), mine)
        named = read("QueryTrades", txid=order["trades"][0])
        expect(list(named) == [order["trades"][0]], named)

    def paid():
        now = {asset: Decimal(amount) for asset, amount in read("Balance").items()}
        expect(now["XXBT"] - before["XXBT"] == Decimal("0.01"), now)
        spent = before["ZUSD"] - now["ZUSD"]
        expect(abs(spent - Decimal(order["cost"]) - Decimal(order["fee"])) < Decimal("0.001"), spent)

    def ledger():
        rows = list(read("Ledgers", asset="XBT")["ledger"].values())
        expect(Decimal(rows[0]["amount"]) == Decimal("0.01") and rows[0]["type"] == "trade", rows[:1])

    def dead_man():
        armed = write("CancelAllOrdersAfter", timeout="60")
        expect(armed["triggerTime"] > armed["currentTime"], armed)
        expect(write("CancelAllOrdersAfter", timeout="0")["triggerTime"] == "0", "still armed")

    def deadline():
        late = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() - 5))
        error("AddOrder", "EService:Deadline elapsed", deadline=late, **limit)

    checks.run("my trades", trades)
    checks.run("a fill moves cost and fee", paid)
    checks.run("ledger", ledger)
    checks.run("market sell", lambda: write("AddOrder", type="sell", **market))
    checks.run("dead-man switch", dead_man)
    checks.run("a deadline that has passed", deadline)
    checks.run(
        "insufficient funds",
        lambda: error("AddOrder", "EOrder:Insufficient funds", **{**limit, "volume": "100000"}),
    )
    checks.run(
        "an order below the minimum",
        lambda: error("AddOrder", "EOrder:Order minimum not met", **{**limit, "volume": "0.00001"}),
    )
    checks.run(
        "a price with too many decimals",
        lambda: error(
            "AddOrder",
            "EOrder:Invalid price:XBTUSD price can only be specified up to 1 decimals.",
            **{**limit, "price": "1000.123"},
        ),
    )
    checks.run(
        "an unknown pair",
        lambda: error("AddOrder", "EQuery:Unknown asset pair", **{**limit, "pair": "NOPE"}),
    )
    checks.run("an unknown method", lambda: error("Nothing", "EGeneral:Unknown method"))
    checks.run("what the key may not do", lambda: error("Withdraw", "EGeneral:Permission denied"))

    forger = Client(url, customer["key"], "d3Jvbmc=")
    stranger = Client(url, "nobody", customer["secret"])
    late = Client(url, customer["key"], customer["secret"])
    late._nonce = lambda: int(time.time() * 1000) - 3_600_000
    checks.run("wrong signature", lambda: error("Balance", "EAPI:Invalid signature", forger))
    checks.run("unknown key", lambda: error("Balance", "EAPI:Invalid key", stranger))
    checks.run("old nonce", lambda: error("Balance", "EAPI:Invalid nonce", late))
    checks.run("the key still works", lambda: read("Balance"))
    checks.finish()


main()
