#include "node/digest.h"
#include "base/test.h"

TEST(digest_same_and_other)
{
    static struct digests d;
    d = (struct digests){ .first = 0 };
    EXPECT(digest_compare(&d, 0, 1) == DIGEST_TOO_OLD);
    for (uint64_t i = 7; i < 20; i++)
        EXPECT(!digest_keep(&d, i, (uint32_t)i * 3));
    EXPECT(digest_compare(&d, 6, 18) == DIGEST_TOO_OLD);
    EXPECT(digest_compare(&d, 7, 21) == DIGEST_SAME && digest_compare(&d, 19, 57) == DIGEST_SAME);
    EXPECT(digest_compare(&d, 19, 58) == DIGEST_DIFFERS);
}

TEST(digest_of_what_is_to_come)
{
    static struct digests d;
    d = (struct digests){ .first = 0 };
    EXPECT(!digest_keep(&d, 1, 10));
    EXPECT(digest_compare(&d, 3, 30) == DIGEST_LATER && !digest_keep(&d, 2, 20));
    EXPECT(!digest_keep(&d, 3, 30) && !digest_keep(&d, 4, 40));
    EXPECT(digest_compare(&d, 6, 60) == DIGEST_LATER && !digest_keep(&d, 5, 50));
    EXPECT(digest_keep(&d, 6, 61)); /* once */
    EXPECT(!digest_keep(&d, 7, 70));
    EXPECT(digest_compare(&d, 9, 90) == DIGEST_LATER);
    EXPECT(!digest_keep(&d, 20, 200)); /* a checkpoint passed it */
    EXPECT(digest_compare(&d, 7, 70) == DIGEST_TOO_OLD);
    EXPECT(digest_compare(&d, 20, 200) == DIGEST_SAME);
}

TEST(digest_kept_for_a_while)
{
    static struct digests d;
    d = (struct digests){ .first = 0 };
    for (uint64_t i = 1; i <= DIGESTS_KEPT + 5; i++)
        EXPECT(!digest_keep(&d, i, (uint32_t)i));
    EXPECT(digest_compare(&d, 5, 5) == DIGEST_TOO_OLD);
    EXPECT(digest_compare(&d, 6, 6) == DIGEST_SAME && digest_compare(&d, 6, 7) == DIGEST_DIFFERS);
}
