-- That a switch was turned on or off is found by an index that follows from the records themselves: rows could be
-- changed to say that it is off, or taken away.
CREATE INDEX audit_record_about_switch ON audit_record (seq)
    WHERE instr(body, CAST('latch.tripped' AS BLOB)) > 0 OR instr(body, CAST('latch.cleared' AS BLOB)) > 0;
