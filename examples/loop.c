/* A live copy in a program that has a loop of its own: no thread is made. Prints each change, and
 * tells the servers when it cannot use one.
 *
 *     cc loop.c $(pkg-config --cflags --libs libconfman) -o loop
 *     ./loop prod app/
 */
#include <confman.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void on_change(void *context, struct confman_copy *copy)
{
    int64_t revision = confman_copy_revision(copy);
    struct confman_list *list;
    int *changes = context;
    *changes += 1;
    if (confman_copy_list(copy, NULL, &list) != CONFMAN_OK)
        return;
    printf("%d:", *changes);
    for (size_t i = 0; i < list->count; i++) {
        const struct confman_config *one = list->configs[i];
        printf(" %s=%s", one->key, one->value);
        if (strstr(one->key, "limit") && (one->type != CONFMAN_NUMBER || one->number < 1) &&
            confman_report(copy, revision, "a limit is a number above 0") != CONFMAN_OK)
            fprintf(stderr, "it cannot be told\n");
    }
    printf("\n");
    fflush(stdout);
    confman_list_free(list);
}

int main(int argc, char **argv)
{
    struct confman_options options = CONFMAN_OPTIONS;
    struct confman_copy_options what = CONFMAN_COPY_OPTIONS;
    struct pollfd ready[] = { { -1, POLLIN, 0 }, { 0, POLLIN, 0 } };
    struct confman *c;
    struct confman_copy *copy;
    struct confman_error e;
    int changes = 0;
    options.endpoints = getenv("CONFMAN_ENDPOINT");
    options.client = "example";
    options.own_loop = 1;
    what.environment = argc > 1 ? argv[1] : NULL;
    what.prefix = argc > 2 ? argv[2] : NULL;
    what.on_change = on_change;
    what.context = &changes;
    if (confman_open(&options, &c, &e) != CONFMAN_OK ||
        confman_copy_open(c, &what, &copy, &e) != CONFMAN_OK) {
        fprintf(stderr, "%s: %s\n", confman_code_name(e.code), e.text);
        return 1;
    }
    do { /* until the input ends */
        if (confman_step(c, &e) != CONFMAN_OK) {
            fprintf(stderr, "%s\n", e.text);
            return 1;
        }
        ready[0].fd = confman_fd(c);
    } while (poll(ready, 2, confman_timeout_ms(c)) >= 0 && !ready[1].revents);
    confman_copy_close(copy);
    confman_close(c);
    return 0;
}
