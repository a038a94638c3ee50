# shell: /bin/bash
# timeout: 300
sqlite3 test.db <<'SQL'
create table t (n integer primary key, a integer, s text);
begin;
insert into t with recursive c(x) as (select 1 union all select x + 1 from c where x < 100000)
  select x, (x * 7919) % 100003, printf('%08d', x) from c;
commit;
create index i on t (a);
select count(*), sum(a), max(s) from t;
pragma integrity_check;
SQL
i=0; while [ $i -lt 1000 ]; do i=$((i + 1)); echo "insert into t values ($((200000 + i)), $i, 'single');"; done | sqlite3 test.db
sqlite3 test.db "select count(*) from t where s = 'single'; delete from t where n % 3 = 0; vacuum; pragma integrity_check; select count(*) from t;"
sqlite3 test.db "pragma journal_mode=wal; insert into t values (500000, 1, 'wal'); select count(*) from t;"
(echo 'begin immediate;'; sleep 0.3; echo 'insert into t values (600000, 1, "x"); commit;') | sqlite3 test.db &
sleep 0.1; sqlite3 -cmd '.timeout 5000' test.db "insert into t values (600001, 2, 'waited'); select count(*) from t where n >= 600000;"; wait
sqlite3 test.db .dump | sha256sum; ls
