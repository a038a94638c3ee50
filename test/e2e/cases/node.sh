# part: long
# timeout: 180
cat > child.js <<'END'
process.send({hi: 1});
process.on('message', () => process.exit(5));
END
cat > n.js <<'END'
const net = require('net'), cp = require('child_process'), {Worker} = require('worker_threads');
const sum = 'let s = 0; for (let i = 0; i < 1e6; i++) s += i;' +
            'require("worker_threads").parentPort.postMessage(s)';
async function main() {
  await new Promise((done) => {
    const worker = new Worker(sum, {eval: true});
    worker.on('message', (m) => console.log('worker', m));
    worker.on('exit', done);
  });
  console.log(cp.execSync('echo sync').toString().trim());
  await new Promise((done) => {
    const c = cp.spawn('/bin/sh', ['-c', 'cat; exit 4'], {stdio: ['pipe', 'pipe', 'inherit']});
    c.stdout.on('data', (d) => console.log('child', d.toString().trim()));
    c.on('close', (code) => { console.log('code', code); done(); });
    c.stdin.end('to child\n');
  });
  await new Promise((done) => {
    const server = net.createServer((c) => c.on('data', (d) => c.end(d.toString().toUpperCase())));
    server.listen('./n.sock', () => {
      const c = net.connect('./n.sock', () => c.write('hello'));
      c.on('data', (d) => console.log('net', d.toString()));
      c.on('close', () => server.close(done));
    });
  });
  await new Promise((done) => {
    const f = cp.fork('./child.js');
    f.on('message', (m) => { console.log('fork', m); f.send('bye'); });
    f.on('exit', (code) => { console.log('exit', code); done(); });
  });
  setTimeout(() => console.log('timer'), 10);
}
main();
END
/usr/bin/node n.js
