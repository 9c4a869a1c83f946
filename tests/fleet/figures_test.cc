// The figures that the fleet and the benchmarks report are worth as much as this histogram.
#include "fleet/figures.h"

#include <gtest/gtest.h>

namespace ota::fleet {
namespace {

TEST(Histogram, QuantilesAreWithinThreePercent) {
  Histogram histogram;
  for (std::int64_t us = 1; us <= 100'000; ++us) {
    histogram.Add(us * 1000);
  }
  EXPECT_EQ(histogram.count(), 100'000u);
  EXPECT_EQ(histogram.max(), 100'000'000);
  for (const double share : {0.01, 0.5, 0.99, 0.999}) {
    const double exact = share * 1e8;
    EXPECT_NEAR(static_cast<double>(histogram.Quantile(share)), exact, exact * 0.03) << share;
  }
  EXPECT_EQ(histogram.Quantile(1), 100'000'000);
}

TEST(Histogram, SmallValuesAreExactAndNothingIsNothing) {
  Histogram histogram;
  EXPECT_EQ(histogram.Quantile(0.5), 0);
  for (const std::int64_t ns : {0, 7, 63, 63}) {
    histogram.Add(ns);
  }
  EXPECT_EQ(histogram.Quantile(0.25), 0);
  EXPECT_EQ(histogram.Quantile(0.5), 7);
  EXPECT_EQ(histogram.Quantile(0.999), 63);
}

TEST(Histogram, OneSlowAnswerOfAThousandIsTheHighestQuantileAlone) {
  Histogram histogram;
  for (int i = 0; i < 1999; ++i) {
    histogram.Add(1'000'000);
  }
  histogram.Add(5'000'000'000);
  EXPECT_LT(histogram.Quantile(0.999), 1'100'000);
  EXPECT_EQ(histogram.Quantile(1), 5'000'000'000);
}

TEST(Figures, AProblemIsCountedAndKeepsItsFirstExamples) {
  Figures figures;
  for (int i = 0; i < 5; ++i) {
    figures.Wrong("reply 400", "f" + std::to_string(i), "components");
  }
  EXPECT_EQ(figures.problems.at("reply 400").count, 5u);
  EXPECT_EQ(figures.problems.at("reply 400").examples.size(), 3u);
  EXPECT_NE(ToText(figures).find("5 x reply 400\n      f0: components"), std::string::npos);
  EXPECT_NE(ToJson(figures).find(R"("problems":{"reply 400":5})"), std::string::npos);
}

}  // namespace
}  // namespace ota::fleet
