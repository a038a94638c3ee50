# shell: /bin/bash
# part: long
# timeout: 300
cat > Main.java <<'J'
import java.nio.file.*;
import java.util.*;
import java.util.concurrent.*;
import java.util.stream.*;
public class Main {
  public static void main(String[] args) throws Exception {
    ExecutorService pool = Executors.newFixedThreadPool(4);
    List<Future<Long>> sums = new ArrayList<>();
    for (int i = 0; i < 16; i++) { final int n = i; sums.add(pool.submit(() -> LongStream.range(0, 100000).map(x -> x * n).sum())); }
    long total = 0; for (Future<Long> f : sums) total += f.get();
    pool.shutdown(); System.out.println(total + " " + pool.awaitTermination(1, TimeUnit.SECONDS));
    Path p = Files.createTempFile(Path.of("."), "t", ".txt"); Files.writeString(p, "text\n".repeat(1000));
    System.out.println(Files.lines(p).count()); Files.delete(p);
    Process child = new ProcessBuilder("sort", "-r").start();
    child.getOutputStream().write("a\nb\n".getBytes()); child.getOutputStream().close();
    System.out.print(new String(child.getInputStream().readAllBytes())); System.out.println(child.waitFor());
    try { Object o = null; o.hashCode(); } catch (NullPointerException e) { System.out.println("caught"); }
    StringBuilder b = new StringBuilder(); for (int i = 0; i < 200; i++) { byte[] garbage = new byte[1 << 20]; b.append(garbage.length & 1); } System.gc();
    System.out.println(b.length()); System.exit(4);
  }
}
J
java -Xmx256m Main.java; echo "status $?"
