-- What says whether two people are needed, and who proposed what, is found by indices that follow from the
-- records themselves: a row that names them could be taken away for as long as it does harm.
CREATE INDEX audit_record_about_alone ON audit_record (seq)
    WHERE instr(body, CAST('people.alone-set' AS BLOB)) > 0;
CREATE INDEX audit_record_about_approval ON audit_record (seq)
    WHERE instr(body, CAST('approval.' AS BLOB)) > 0;
