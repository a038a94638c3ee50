// Samples in bounded memory, and their quantiles.
#ifndef RINGFENCE_BENCH_MICRO_SAMPLES_H_
#define RINGFENCE_BENCH_MICRO_SAMPLES_H_

// Writes to the memory of the samples once, so that measuring takes no page faults there.
void TouchSamples(void);
void ForgetSamples(void);
// So many operations were done that are not measured: they cost calls and CPU time, too.
void Ran(long n);
// The two lines that guest.c describes; the first has the mean or the median.
void PrintSamples(int by_mean);

#endif  // RINGFENCE_BENCH_MICRO_SAMPLES_H_
