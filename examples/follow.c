/* Keeps a live copy of an environment's configs and flags, prints each change, and goes on with the
 * last known good when no server answers.
 *
 *     cc follow.c $(pkg-config --cflags --libs libconfman) -o follow
 *     ./follow prod app/ /var/cache/app/configs
 */
#include <confman.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static void print(struct confman_copy *copy)
{
    static const char *const states[] = { "empty", "stale", "live" };
    struct confman_attribute who[] = {
        { "targetingKey", CONFMAN_STRING, "user-7", 0, 0 },
        { "plan", CONFMAN_STRING, "gold", 0, 0 },
    };
    struct confman_list *list;
    struct confman_detail why;
    int on = 0;
    printf("%s at revision %lld:", states[confman_copy_state(copy)],
           (long long)confman_copy_revision(copy));
    if (confman_copy_list(copy, NULL, &list) == CONFMAN_OK) {
        for (size_t i = 0; i < list->count; i++)
            printf(" %s=%s", list->configs[i]->key, list->configs[i]->value);
        confman_list_free(list);
    }
    enum confman_code code = confman_flag_boolean(copy, "new-checkout", who, 2, &on, &why);
    if (code == CONFMAN_OK)
        printf(" new-checkout=%s(%s)", on ? "true" : "false", why.reason);
    printf("\n");
    fflush(stdout);
}

int main(int argc, char **argv)
{
    struct confman_options options = CONFMAN_OPTIONS;
    struct confman_copy_options what = CONFMAN_COPY_OPTIONS;
    struct confman *c;
    struct confman_copy *copy;
    struct confman_error e;
    options.endpoints = getenv("CONFMAN_ENDPOINT");
    options.user = getenv("CONFMAN_EXAMPLE_USER");
    options.password = getenv("CONFMAN_EXAMPLE_PASSWORD");
    what.environment = argc > 1 ? argv[1] : NULL;
    what.prefix = argc > 2 ? argv[2] : NULL;
    what.cache_file = argc > 3 ? argv[3] : NULL;
    what.flags = 1;
    if (confman_open(&options, &c, &e) != CONFMAN_OK ||
        confman_copy_open(c, &what, &copy, &e) != CONFMAN_OK) {
        fprintf(stderr, "%s: %s\n", confman_code_name(e.code), e.text);
        return 1;
    }
    if (e.code == CONFMAN_FILE)
        fprintf(stderr, "the last known good is not used: %s\n", e.text);
    /* Live if that can be had in time, else whatever is known. */
    if (confman_copy_wait(copy, CONFMAN_LIVE, 2000, &e) != CONFMAN_OK)
        fprintf(stderr, "%s: %s\n", confman_code_name(e.code), e.text);
    struct pollfd ready[] = { { confman_copy_fd(copy), POLLIN, 0 }, { 0, POLLIN, 0 } };
    print(copy);
    while (poll(ready, 2, -1) > 0 && !ready[1].revents) { /* until the input ends */
        uint64_t times;
        if (read(ready[0].fd, &times, sizeof(times)) == sizeof(times))
            print(copy);
    }
    confman_copy_close(copy);
    confman_close(c);
    return 0;
}
